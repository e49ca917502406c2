<?php
// A page: one connection for the request, one that the worker keeps. The pid is for the driver alone.
$request = pg_connect("application_name=request");
$kept = pg_pconnect("application_name=kept");
$pdo = new PDO("pgsql:");
header("X-Worker: " . getmypid());
echo pg_fetch_result(pg_query($request, "select 'page'"), 0, 0), " ",
	pg_fetch_result(pg_query($kept, "select 'kept'"), 0, 0), " ", $pdo->query("select 'pdo'")->fetchColumn(), "\n";
