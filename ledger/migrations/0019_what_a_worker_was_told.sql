-- What an unhealthy worker was before: one that drains goes on draining when it is heard of again. NULL in other states.
ALTER TABLE workers ADD COLUMN unhealthy_from text;
