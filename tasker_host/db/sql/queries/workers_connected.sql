-- How many workers hold a connection to this database.
select count(*) from pg_stat_activity
where datname = current_database() and application_name like 'tasker worker %'
