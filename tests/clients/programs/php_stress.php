<?php
// Connects in code that is made and thrown away, from destructors, generators and fibers, beside the collector. SECONDS
class Knot { public $other; public $connection; function __destruct() { order(0); } }

function order($n) { return $n > 0 ? array_map(fn() => order($n - 1), [1])[0] : pg_connect('', PGSQL_CONNECT_FORCE_NEW); }
function rows() { yield order(1); yield order(2); }

$stop = microtime(true) + (float)$argv[1];
while (microtime(true) < $stop) {
	for ($i = 0; $i < 3; $i++) {
		$knot = new Knot;
		$knot->other = new Knot;
		$knot->other->other = $knot;
		$knot->connection = order(0);
		unset($knot);
	}
	gc_collect_cycles();
	foreach (rows() as $row)
		pg_close($row);
	(new Fiber(function () { pg_close(order(1)); }))->start();
	$name = 'made_' . mt_rand();
	eval("function $name() { return (function () { return order(0); })(); } pg_close($name());");
	try {
		(function () { $knot = new Knot; throw new Exception('x'); })();
	} catch (Exception $e) {
	}
}
