CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);

INSERT INTO account SELECT n, 1000 FROM generate_series(1, 20) n;

CREATE TABLE transfer (client int NOT NULL, n int NOT NULL, source int NOT NULL, target int NOT NULL, amount int NOT NULL, backend int NOT NULL DEFAULT pg_backend_pid());

