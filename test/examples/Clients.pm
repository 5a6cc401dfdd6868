# The clients of examples/clients, and what may happen to them: a payment
# service under the test's control, transactions that lose races, connections
# that break, and the answer to a COMMIT that gets lost on its way.
package Clients;

use strict;
use warnings;

use Exporter 'import';
use File::Path qw(make_path);
use FindBin;
use InventoryTest;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

our @EXPORT = qw(
  @clients
  clients_node
  make_clients_ready
  start_client
  finish_client
  run_client
  payments
  inject_faults
  faults_met
  start_thief
);

our @clients = qw(python node java php psql);

my $examples = "$FindBin::Bin/../../examples/clients";
my $jdbc = '/usr/share/java/postgresql.jar';
my $dir = PostgreSQL::Test::Utils::tempdir;
my $uuid = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

# How the README has each of them started.  Debian's Python, whatever other
# there is in the PATH: psycopg2 belongs to that one.
my %command = (
	python => [ '/usr/bin/python3', "$examples/purchase.py" ],
	node => [ 'node', "$examples/purchase.js" ],
	java => [ 'java', '-cp', $jdbc, "$examples/Purchase.java" ],
	php => [ 'php', "$examples/purchase.php" ],
	psql => ["$examples/purchase.sh"]);

# A server that listens on TCP too: JDBC has no Unix sockets.
sub clients_node
{
	return inventory_node('shop', conf => "listen_addresses = '127.0.0.1'\n");
}

# What they need besides Debian's packages: the driver for Node.  And a payment
# service, which writes down what it is asked, knows $DECLINE, and runs
# $WHILE_PAYING with the shell before it agrees.
sub make_clients_ready
{
	my ($status) = run_logged(
		qw(npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier),
		'--prefix', $examples);
	is($status, 0, 'npm ci installs what package-lock.json says');
	unlike(slurp_file("$examples/package-lock.json"),
		qr/"resolved"/, 'package-lock.json names no registry');

	append_to_file("$dir/pay", <<'SH');
#!/bin/sh
echo "$*" >>"$PAYMENTS"
[ "$1" = refund ] || [ -z "$DECLINE" ] || exit 1
[ "$1" = refund ] || [ -z "$WHILE_PAYING" ] || sh -c "$WHILE_PAYING"
SH
	chmod 0755, "$dir/pay" or die "chmod: $!";
	return;
}

# The Java client compiled once, for where many are started.
sub compiled_java
{
	if (!-d "$dir/java")
	{
		make_path("$dir/java");
		my ($status) = run_logged('javac', '-Xlint:all,-serial', '-Werror', '-d', "$dir/java",
			'-cp', $jdbc, "$examples/Purchase.java");
		is($status, 0, 'javac has nothing to say of Purchase.java');
	}
	return [ 'java', '-Xshare:auto', '-cp', "$jdbc:$dir/java", 'Purchase' ];
}

sub run_logged
{
	my @command = @_;
	my $ok = IPC::Run::run(\@command, '<', \'', '>&', \my $said,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	note $said;
	return ($ok ? 0 : 1, $said);
}

# Start a client: start_client(NAME, [ arguments ], host =>, port =>, compiled =>
# true, env => { }).  finish_client() waits for its end.
sub start_client
{
	my ($name, $arguments, %option) = @_;
	my @command = @{ $option{compiled} && $name eq 'java' ? compiled_java() : $command{$name} };
	my %run = (name => $name, stdout => '', stderr => '', payments => "$dir/payments");

	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER PAYMENT PAYMENTS)} =
	  ($option{host}, $option{port}, 'postgres', scalar getpwuid($>), "$dir/pay", $run{payments});
	local @ENV{qw(DECLINE WHILE_PAYING)} = ('', '');
	local @ENV{ keys %{ $option{env} || {} } } = values %{ $option{env} || {} };
	$run{process} = IPC::Run::start([ @command, @$arguments ],
		'<', \'', '>', \$run{stdout}, '2>', \$run{stderr},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%run;
}

# The exit status of a client, what it printed, how often it began anew, and
# for what reasons.
sub finish_client
{
	my ($run) = @_;

	$run->{process}->finish;
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	note "$run->{name}: status $status\n$run->{stdout}$run->{stderr}";
	my ($key) = $run->{stdout} =~ /^key (.*)$/m;
	my ($hold) = $run->{stdout} =~ /^held ($uuid)$/m;
	my ($order) = $run->{stdout} =~ /^sold ($uuid)$/m;
	# What is printed has to be the same with all of them.
	(my $said = $run->{stdout}) =~ s/$uuid$/UUID/mg;
	$said =~ s/^key .*\n//;
	return {
		status => $status,
		said => $said,
		key => $key,
		hold => $hold,
		order => $order,
		stderr => $run->{stderr},
		again => [ $run->{stderr} =~ /^again: (.+)$/mg ]
	};
}

# Run one on the server $node, or where host and port say.
sub run_client
{
	my ($node, $name, $arguments, %option) = @_;
	# Only what JDBC cannot do takes another way.
	my $host = $name eq 'java' ? '127.0.0.1' : $node->host;

	return finish_client(
		start_client($name, $arguments, host => $host, port => $node->port, %option));
}

# What the payment service was asked under a key.
sub payments
{
	my ($key) = @_;
	return '' if !-e "$dir/payments";
	return join "\n", grep { / \Q$key\E / } split /\n/, slurp_file("$dir/payments");
}

# Have whatever is written to the reservations of customers called "unlucky ..."
# fail: the first attempt of each transaction by 40001, the second by 40P01, the
# third by the end of its connection; the fourth gets through.  Customers called
# "hopeless ..." get 40001 for ever.
sub inject_faults
{
	my ($node) = @_;
	$node->safe_psql('postgres', q{
		CREATE SEQUENCE public.fault MINVALUE 1 MAXVALUE 4 CYCLE;
		CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
		DECLARE
			attempt bigint := nextval('public.fault');
		BEGIN
			IF new.customer LIKE 'hopeless %' OR attempt = 1 THEN
				RAISE 'lost a race' USING ERRCODE = '40001';
			ELSIF attempt = 2 THEN
				RAISE 'deadlock' USING ERRCODE = '40P01';
			ELSIF attempt = 3 THEN
				PERFORM pg_terminate_backend(pg_backend_pid());
				PERFORM pg_sleep(60);
			END IF;
			RETURN new;
		END
		$$;
		CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON inv_reservation
			FOR EACH ROW WHEN (new.customer ~ '^(unlucky|hopeless) ')
			EXECUTE FUNCTION public.fail()});
	return;
}

# What a client reports that has met them in so many transactions: drivers
# differ in how they tell of a connection's end.
sub faults_met
{
	my ($transactions) = @_;
	my $once = '40001 40P01 (?:57P01|08006|08003|08P01|HY000|connection lost)';
	return qr/^$once(?: $once){@{[ $transactions - 1 ]}}$/;
}

# A connection to the server that steals the first, third, ... answer to a
# COMMIT which comes by, and breaks: committed, but the client cannot know.
# Returns port and process; kill the latter.
sub start_thief
{
	my ($node) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $listen = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 10, ReuseAddr => 1)
	  or die "cannot listen: $!";
	my $socket = $node->host . '/.s.PGSQL.' . $node->port;
	my $pid = fork() // die "fork: $!";

	return ($port, $pid) if $pid;
	my $commits = 0;
	while (my $client = $listen->accept)
	{
		my $server = IO::Socket::UNIX->new(Peer => $socket) or die "cannot connect: $!";
		my $both = IO::Select->new($client, $server);
	  COPY: while (1)
		{
			foreach my $from ($both->can_read)
			{
				my $to = $from == $client ? $server : $client;
				sysread($from, my $data, 65536) or last COPY;
				# CommandComplete; short enough to come in one piece.
				last COPY
				  if $from == $server && $data =~ /C\0\0\0\x0bCOMMIT\0/ && $commits++ % 2 == 0;
				syswrite($to, $data);
			}
		}
		close $_ foreach $client, $server;
	}
	# Not by exit(): what the test does at its end is the parent's.
	return POSIX::_exit(0);
}

1;
