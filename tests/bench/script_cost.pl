# script_cost.pl DEPTH CALLS WHAT: processor time of one call at the bottom of DEPTH subs, in nanoseconds. WHAT is
# `connect` (to a server that cannot be named, so that nothing is waited for) or `by_hand` (a stack written down).
use strict;
use warnings;
use Carp ();
use DBI;
use Time::HiRes ();

no warnings "recursion";
my $driver = DBI->install_driver("Pg");

sub connects { my $calls = shift; for (1 .. $calls) { $driver->connect("=", "", "", {PrintError => 0}) } }
sub writes { my $calls = shift; for (1 .. $calls) { my $stack = Carp::longmess("x") } }
sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_PROCESS_CPUTIME_ID()) * 1e9 }

sub level {
	my ($depth, $calls, $what) = @_;
	return level($depth - 1, $calls, $what) if $depth > 0;
	my $begun = now();
	$what eq "connect" ? connects($calls) : writes($calls);
	return (now() - $begun) / $calls;
}

# DBD::Pg's own sub is a frame, too.
print level($ARGV[0] - 4, $ARGV[1], $ARGV[2]), "\n";
