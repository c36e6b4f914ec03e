-- Statistics of a table with a handful of rows make the planner read all of it for every step; the first ten thousand that come
-- then would be read ten thousand times. Until there are enough rows to tell by, it takes the table for a middling one.
alter table tasker.tasks set (autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 2000);
alter table tasker.steps set (autovacuum_vacuum_threshold = 2000, autovacuum_analyze_threshold = 2000);
