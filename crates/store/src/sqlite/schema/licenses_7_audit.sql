-- REPLACE deletes what is in its way without firing the triggers of a deletion: a line in the way is looked for first.

CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
  WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number) OR EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
  BEGIN SELECT raise(ABORT, 'a line of the audit log is never replaced'); END;
