# A server whose wall clock a test sets while it runs: for all of its processes
# at once, from one moment to the next (test/support/stepped_clock.c).
package SteppedClock;

use strict;
use warnings;

use Exporter 'import';
use Fcntl;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(
  restart_with_clock
  set_clock
);

my ($dir, $file);

# Set it to the right time and so many seconds.
sub set_clock
{
	my ($seconds) = @_;
	sysseek($file, 0, 0)
	  && syswrite($file, pack('q', $seconds * 1_000_000)) == 8
	  or die "cannot set the clock: $!";
	return;
}

# Start a server that runs once more, with such a clock.  It is right at first.
# Returns the name of the file that sets it, for other processes: microseconds,
# eight bytes.
sub restart_with_clock
{
	my ($node) = @_;

	$dir = PostgreSQL::Test::Utils::tempdir;
	system_or_bail('cc', '-O2', '-fPIC', '-shared', '-o', "$dir/clock.so",
		'test/support/stepped_clock.c');
	sysopen($file, "$dir/clock", O_RDWR | O_CREAT) or die "$dir/clock: $!";
	set_clock(0);

	local $ENV{LD_PRELOAD} = "$dir/clock.so";
	local $ENV{STEPPED_CLOCK} = "$dir/clock";
	$node->restart;
	return "$dir/clock";
}

1;
