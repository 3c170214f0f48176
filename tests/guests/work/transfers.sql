\set n :n + 1
\set source random(1, 20)
\set target (:source + random(0, 18)) % 20 + 1
\set amount random(1, 100)
BEGIN;
INSERT INTO transfer (client, n, source, target, amount) VALUES (:client_id, :n, :source, :target, :amount);
UPDATE account SET balance = balance + CASE WHEN id = :source THEN -:amount ELSE :amount END WHERE id IN (:source, :target);
COMMIT;
