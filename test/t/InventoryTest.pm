# What the TAP tests share: servers with the extension, crowds of clients, and
# the questions that are asked at the end of each.
#
# Two ways of having many clients:
#
# - crowd() makes every client wait at a gate until all of them are connected,
#   and then opens it: for races.
# - pgbench() just runs them: for load.
#
# Every server writes the SQLSTATE of each error to its log, where
# logged_errors() counts them.  A test says which ones it expects: a deadlock
# or an internal error that some client ran into cannot go unnoticed.
package InventoryTest;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(
  inventory_node
  add_stock
  pgbench
  crowd
  sqlstate_of
  logged_errors
  only_errors_are
  value_is
  books_are_right
);

# A server with the extension in schema inv, which is on the search_path of
# the database postgres.  Options: conf => lines for postgresql.conf, new and
# init => arguments for those of PostgreSQL::Test::Cluster, extension => false
# for none.
sub inventory_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %{ $option{new} || {} });

	$node->init(%{ $option{init} || {} });
	$node->append_conf('postgresql.conf', <<"CONF" . ($option{conf} || ''));
max_connections = 1100
shared_buffers = 128MB
max_prepared_transactions = 10
log_statement = none
log_line_prefix = '%m [%p] sqlstate=%e %q%a '
log_min_messages = warning
CONF
	$node->start;
	if (!exists $option{extension} || $option{extension})
	{
		$node->safe_psql('postgres', q{
			CREATE SCHEMA inv;
			ALTER DATABASE postgres SET search_path = inv, public;
			CREATE EXTENSION inventory_reservation SCHEMA inv});
	}
	return $node;
}

# add_stock($node, SKU => units, ...)
sub add_stock
{
	my ($node, %stock) = @_;
	$node->safe_psql('postgres', join '', map {
		"SELECT inv_add_item('$_', unit_price => 10);"
		  . "SELECT inv_receive('$_', $stock{$_});"
	} sort keys %stock);
	return;
}

# Wait for a program to end; its exit status (more than 128 for a signal) and
# what it wrote.
sub finish
{
	my ($run, $stdout, $stderr) = @_;

	$run->finish;
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	note $$stdout;
	note substr($$stderr, 0, 2000);
	return ($status, $$stdout, $$stderr);
}

# Run pgbench with scripts of these texts.  Options: clients; arguments, a
# list; scripts, a hash of text => weight.  Returns exit status, standard
# output and standard error.
sub pgbench
{
	my ($node, %option) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my @files;

	foreach my $script (sort keys %{ $option{scripts} })
	{
		my $file = "$dir/script" . @files / 2 . ".sql";
		append_to_file($file, $script);
		push @files, '--file', "$file\@$option{scripts}{$script}";
	}
	my $run = IPC::Run::start(
		[
			'pgbench', '--no-vacuum',
			'--client', $option{clients},
			'--jobs', $option{clients} > 1 ? 2 : 1,
			@{ $option{arguments} }, @files,
			$node->connstr('postgres')
		],
		'<', \'', '>', \my $stdout, '2>', \my $stderr,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return finish($run, \$stdout, \$stderr);
}

# Many clients, each over a connection of its own, run one script once and at
# the same moment: everybody waits at an advisory lock until all are there.
# Options: clients; script, in which :client_id is 0, 1, ...; before_open, code
# to run when all clients are at the gate; after_open, code to run when it is
# open.  Returns what pgbench() returns.
sub crowd
{
	my ($node, %option) = @_;
	my $clients = $option{clients};
	my $gate = $node->background_psql('postgres');
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my ($stdout, $stderr) = ('', '');

	append_to_file("$dir/crowd.sql",
		"SELECT pg_advisory_lock_shared(1);\n$option{script}\n");
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	my $crowd = IPC::Run::start(
		[
			'pgbench', '--no-vacuum',
			'--client', $clients,
			'--jobs', 2,
			'--transactions', 1,
			'--file', "$dir/crowd.sql",
			$node->connstr('postgres')
		],
		'<', \'', '>', \$stdout, '2>', \$stderr,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	until (
		$node->safe_psql('postgres',
			"SELECT count(*) FROM pg_locks"
			  . " WHERE locktype = 'advisory' AND NOT granted") == $clients)
	{
		$crowd->pump_nb;
		die "not all of $clients clients came: $stderr" if !$crowd->pumpable;
		sleep 0.2;
	}
	$option{before_open}->() if $option{before_open};
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$option{after_open}->() if $option{after_open};
	my @result = finish($crowd, \$stdout, \$stderr);
	$gate->quit;
	return @result;
}

# SQLSTATE that a statement ends with; 00000 if it succeeds.
sub sqlstate_of
{
	my ($node, $sql) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres', $sql,
		extra_params => [ '--variable', 'VERBOSITY=sqlstate' ]);

	return $1 if $stderr =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5})\b/;
	return $status == 0 ? '00000' : "psql: $stderr";
}

# SQLSTATE => number of times, of all errors in the server's log after the
# byte "offset".
sub logged_errors
{
	my ($node, $offset) = @_;
	my %count;

	my $log = slurp_file($node->logfile, $offset || 0);
	$count{$1}++
	  while $log =~ /sqlstate=([0-9A-Z]{5}) .*(?:ERROR|FATAL|PANIC):  /g;
	return \%count;
}

# Test that the log after "offset" has just these errors: a hash of SQLSTATE =>
# number of times, or undef for any number.
sub only_errors_are
{
	my ($node, $offset, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $found = logged_errors($node, $offset);
	my %wanted = map {
		$_ => defined $expected->{$_} ? $expected->{$_} : $found->{$_} || 0
	} keys %$expected;
	delete @wanted{ grep { $wanted{$_} == 0 } keys %wanted };
	return is_deeply($found, \%wanted, $name);
}

# Test the answer to a query.
sub value_is
{
	my ($node, $sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is($node->safe_psql('postgres', $sql), $expected, $name);
}

# Test that the invariants hold.
sub books_are_right
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return value_is($node,
		'SELECT violation, sku, found, expected FROM inv_check()',
		'', $name || 'inv_check() finds nothing');
}

1;
