<?php
// script_cost.php DEPTH CALLS WHAT: processor time of one call at the bottom of DEPTH functions, in nanoseconds. WHAT is
// `connect` (to a server that cannot be named, so that nothing is waited for) or `by_hand` (a stack written down).

function connects($calls) {
	for ($i = 0; $i < $calls; $i++)
		@pg_connect('=');
}

function writes($calls) {
	for ($i = 0; $i < $calls; $i++)
		debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS);
}

function now() { $usage = getrusage(); return ($usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec']) * 1e9 + ($usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec']) * 1e3; }

function level($depth, $calls, $what) {
	if ($depth > 0)
		return level($depth - 1, $calls, $what);
	$begun = now();
	$what === 'connect' ? connects($calls) : writes($calls);
	return (now() - $begun) / $calls;
}

echo level((int)$argv[1] - 3, (int)$argv[2], $argv[3]), "\n";
