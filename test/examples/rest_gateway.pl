# examples/rest-gateway works.  Its own tests (test/*.test.js there, each one a
# test here) run against a server with the extension, over real HTTP and in a
# real browser: every route and status, keys, a thousand buyers, a gateway that
# is killed, the stream of events, the live page.  Afterwards the books are
# right, and the server has logged no error that nobody expected.  And run.sh
# brings all of it up with one command, and takes it away again.
use strict;
use warnings;

use FindBin;
use HTTP::Tiny;
use InventoryTest;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $gateway = "$FindBin::Bin/../../examples/rest-gateway";
my $patience = 5 * $PostgreSQL::Test::Utils::timeout_default;

# npm and the browser want a place of their own to write to.
my $home = PostgreSQL::Test::Utils::tempdir;
local $ENV{HOME} = $home;
local $ENV{npm_config_cache} = "$home/npm";

# Run a program in the gateway's directory; its exit status, and what it wrote.
sub run_there
{
	my (@command) = @_;
	my $output = '';

	my $run = IPC::Run::start(
		[@command], '<', \'', '>&', \$output,
		init => sub { chdir $gateway or die "$gateway: $!" },
		IPC::Run::timeout($patience));
	eval { $run->finish; 1 } or do { $run->kill_kill; $output .= $@ };
	return ($?, $output);
}

note join '', map { (run_there($_, '--version'))[1] } 'node', 'npm';

my $lock = slurp_file("$gateway/package-lock.json");
unlike($lock, qr/"resolved"/, 'package-lock.json names no host of a registry');
is_deeply(
	[ grep { !/^\d+\.\d+\.\d+$/ } map { values %$_ }
		  @{ decode_json(slurp_file("$gateway/package.json")) }{qw(dependencies devDependencies)} ],
	[], 'package.json names exact versions');
my ($status, $output) = run_there('npm', 'ci');
is($status, 0, 'npm ci') or BAIL_OUT($output);

my $node = inventory_node('shop', conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.naptime = 1s
CONF
$node->safe_psql('postgres', slurp_file("$gateway/setup.sql"));

# Where the server is, for the tests and the gateways that they start.
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
local $ENV{PGUSER} = $node->safe_psql('postgres', 'SELECT current_user');
local $ENV{SCREENSHOT} = "$home/page.png";

# Run a file of tests; each of them becomes one of ours.
sub tests_pass
{
	my ($name) = @_;
	my ($status, $output) =
	  run_there('node', '--test', '--test-reporter=tap', "test/$name.test.js");
	my $count = 0;

	while ($output =~ /^ *(not )?ok \d+ - (.*)$/mg)
	{
		ok(!$1, "$name: $2");
		$count++;
	}
	cmp_ok($count, '>', 1, "$name: there are tests");
	is($status, 0, "$name: all is well") or diag $output;
	return;
}

# That one makes errors of all kinds, and that is what it is about.
tests_pass('database');
my $offset = -s $node->logfile;
tests_pass($_) foreach qw(routes events buyers page);

books_are_right($node);
only_errors_are(
	$node, $offset,
	{
		map { $_ => undef }
		  qw(IV001 IV002 IV003 IV004 IV005 IV006 IV007 IV008 IV010 IV011
		  22P02 22003 22008 22021 22023 23505 42501 42883 42P01 55000 08006)
	},
	'no errors but those that the clients asked for');
is(unpack('H16', slurp_file($ENV{SCREENSHOT})), '89504e470d0a1a0a', 'a picture of the page');
$node->stop;

#
# One command
#

delete @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)};
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $screen = '';
my $run;
{
	local $ENV{PORT} = $port;
	# what runs in the background has it ignored
	local $SIG{INT} = 'DEFAULT';
	$run = IPC::Run::start([ 'bash', "$gateway/run.sh" ],
		'<', \'', '>&', \$screen, IPC::Run::timeout($patience));
}
$run->pump while $run->pumpable && $screen !~ /Ctrl-C stops it/;
like($screen, qr{http://127\.0\.0\.1:$port$}m, 'run.sh says where it is')
  or diag $screen;
my $http = HTTP::Tiny->new(no_proxy => ['127.0.0.1']);
my $answer = $http->get("http://127.0.0.1:$port/inventory");
is($answer->{status}, 200, 'it answers');
is( join(' ', map { "$_->{sku}:$_->{availableQuantity}" }
		  @{ decode_json($answer->{content})->{data}{items} }),
	'CAMERA001:3 CHARGER001:30 HEADSET001:20 LAPTOP001:5 PHONE001:10 SPEAKER001:25 TABLET001:8 WATCH001:15',
	'with eight products');

# The lines that it says to try, but for the stream, which has no end.
foreach my $line (grep { !/\.\.\.|-N/ } split /\n(?!       )/, $screen)
{
	next if $line !~ /^  (curl .*)/s;
	my $said = `$1 -s -w ' %{http_code}'`;
	like($said, qr/"success":true.* 20[01]$/s, "it works: $line");
}
$run->signal('INT');
eval { $run->finish; 1 } or fail("run.sh does not end: $@");
is($http->get("http://127.0.0.1:$port/inventory")->{status}, 599, 'Ctrl-C stops it');

done_testing();
