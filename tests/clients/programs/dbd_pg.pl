# DBD::Pg: a warning that dies out of libpq, connections closed, dropped, and one left by _exit.
use strict;
use warnings;
use DBI;
use POSIX ();

$| = 1;
my @held = map { DBI->connect("dbi:Pg:", "", "", {RaiseError => 1, PrintError => 0}) } 1 .. 3;
print $_->selectrow_array("select 17"), "\n" for @held;
eval { $held[0]->do("select 1 / 0") };
print "caught\n" if $@;
$_->disconnect for @held;
{
	my $scoped = DBI->connect("dbi:Pg:", "", "", {RaiseError => 1});
	local $SIG{__WARN__} = sub { die "warned\n" };
	eval { $scoped->do("do \$\$ begin raise warning 'out'; end \$\$") };
	print "left: $@";
	$SIG{__WARN__} = sub { };
	$scoped->do("select 1"); # else the server may still be sending when it is left
}
my $after = DBI->connect("dbi:Pg:", "", "", {RaiseError => 1});
print $after->ping ? "alive\n" : "dead\n";
POSIX::_exit(3);
