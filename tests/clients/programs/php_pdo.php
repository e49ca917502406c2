<?php
// PDO: closed, kept, failed.
$first = new PDO("pgsql:");
$kept = new PDO("pgsql:", null, null, [PDO::ATTR_PERSISTENT => true]);
echo $first->query("select 17")->fetchColumn(), $kept->query("select 18")->fetchColumn(), "\n";
$first = null;
try {
	new PDO("pgsql:dbname=no_such_database_here");
} catch (PDOException $error) {
	echo "no such database\n";
}
