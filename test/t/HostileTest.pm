# What the tests that throw random input share: the shop they throw it at, and
# the reading of the server's log, where all goes that must not happen, whoever
# it happens to and whatever was made of it afterwards.
package HostileTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use InventoryTest;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(hostile_shop holds_made trouble_in_log);

my $dir = dirname(__FILE__) . '/../hostile';

# Files that the library is made of, as errors name them.
my %ours = map { basename($_) => 1 } glob("$dir/../../src/*.c $dir/../../src/*/*.c");

# A server with the shop of test/hostile/shop.sql, the worker at work.
sub hostile_shop
{
	my $node = inventory_node('shop',
		init => { extra => [ '--encoding=UTF8', '--locale=C' ] },
		conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
inventory_reservation.auto_stripes = 4
fsync = off
track_functions = all
log_error_verbosity = verbose
CONF
	$node->safe_psql('postgres', slurp_file("$dir/shop.sql"));
	return $node;
}

# How many calls that make holds have returned; the ledger may have been purged.
sub holds_made
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		q{SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions
		   WHERE schemaname = 'inv' AND funcname ~ 'reserve'});
}

# Empty the log, and return what is wrong in it: crashes, failed assertions,
# warnings of references that were not given back, internal errors of the
# library's (anybody's, if all_internal), and errors that "allowed", a regular
# expression of SQLSTATEs, does not name.  "count" is a hash in which each
# SQLSTATE is counted.
sub trouble_in_log
{
	my ($node, %option) = @_;
	my @trouble;
	my ($error, $bad);

	open my $log, '<', $node->logfile or die $node->logfile . ": $!";
	while (my $line = <$log>)
	{
		push @trouble, $line
		  if $line =~ /terminated by signal|PANIC:|TRAP:|WARNING: .*\bleak/;
		if ($line =~ /sqlstate=(\w{5}) .*(?:ERROR|FATAL):  /)
		{
			$option{count}{$1}++ if $option{count};
			$error = $line;
			$bad = $1 =~ /^XX/ ? $option{all_internal} : $option{allowed} && $1 !~ $option{allowed};
			push @trouble, $line if $bad;
		}
		elsif ($error && $line =~ /LOCATION:  \w+, ([\w.]+):/)
		{
			if (!$bad && $ours{$1} && $error =~ /sqlstate=XX/)
			{
				$bad = 1;
				push @trouble, $error;
			}
			push @trouble, $line if $bad;
		}
		elsif ($error && $line =~ /STATEMENT:  /)
		{
			push @trouble, substr($line, 0, 2000) if $bad;
			$error = undef;
		}
	}
	close $log;
	truncate $node->logfile, 0;
	return @trouble;
}

1;
