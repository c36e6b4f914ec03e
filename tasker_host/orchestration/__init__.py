"""What hosts do with tasks besides running their steps: find templates, submit, watch."""
