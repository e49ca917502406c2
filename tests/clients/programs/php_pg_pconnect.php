<?php
// pg_pconnect: kept by the process, closed when PHP shuts down.
$first = pg_pconnect("application_name=kept");
$second = pg_pconnect("application_name=other");
echo pg_fetch_result(pg_query($first, "select 17"), 0, 0), "\n";
echo pg_fetch_result(pg_query($second, "select 18"), 0, 0), "\n";
