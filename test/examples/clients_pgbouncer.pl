# The clients of examples/clients through a real pgbouncer in transaction mode:
# many of them over few connections to the server, and what does not work there.
use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;
use Clients;
use InventoryTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $servers = 4;
my $buyers = 60;
my $units = 20;

my $node = clients_node();
my $dir = PostgreSQL::Test::Utils::tempdir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my %via = (host => '127.0.0.1', port => $port);
my $user = getpwuid $>;
my $psql = "host=127.0.0.1 port=$port dbname";

make_clients_ready();
add_stock($node, map { $_ => 100 } 'console', @clients);
$node->safe_psql('postgres', "SELECT inv_adjust('console', $units - 100)");
inject_faults($node);

# As the README has it, but for addresses and who may log in; and another
# database, of one connection.
my ($settings) = slurp_file("$FindBin::Bin/../../examples/clients/README.md") =~
  /^```ini\n(.*?)^```$/ms;
like($settings, qr/^pool_mode = transaction$/m, 'the README has settings for pgbouncer');
append_to_file("$dir/pgbouncer.ini", <<"INI");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} pool_size=$servers
single = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres pool_size=1
[pgbouncer]
$settings
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = trust
auth_file = $dir/users
admin_users = $user
max_client_conn = 200
logfile = $dir/pgbouncer.log
pidfile = $dir/pgbouncer.pid
INI
append_to_file("$dir/users", qq{"$user" ""\n});
my $bouncer = IPC::Run::start([ '/usr/sbin/pgbouncer', '-q', "$dir/pgbouncer.ini" ],
	'<', \'', '>&', \my $bouncer_said);

# What a session through pgbouncer prints.
sub through
{
	my ($database, $sql) = @_;
	my ($said, $complaint) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-d', "$psql=$database", '-c', $sql ],
		'<', \'', '>', \$said, '2>', \$complaint);
	chomp $said;
	return "$said$complaint";
}
my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
sleep 0.1 while through('postgres', 'SELECT 1') ne '1' && $tries--;
is(through('postgres', 'SELECT 1'), '1', 'pgbouncer is there')
  or BAIL_OUT(slurp_file("$dir/pgbouncer.log"));

foreach my $client (@clients)
{
	my @twice = map { run_client($node, $client, [ $client, 2, $client, "$client once" ], %via) } 1, 2;
	is($_->{said}, "held UUID\npaid 20\nsold UUID\n", "$client: buys") foreach @twice;
	is($twice[1]{order}, $twice[0]{order}, "$client: once for each key");
	my $unlucky = run_client($node, $client, [ $client, 2, "unlucky $client" ], %via);
	is($unlucky->{said}, "held UUID\npaid 20\nsold UUID\n", "$client: buys in spite of faults");
	like("@{ $unlucky->{again} }", faults_met(2), "$client: having met them all");
	is( run_client($node, $client, [ $client, 1000, $client ], %via)->{said},
		"sold out, 96 left\n",
		"$client: hears that stock is short");
}

# Fewer of those that take long to start.
my @crowd;
foreach my $number (1 .. $buyers)
{
	my @fast = grep { $_ ne 'java' } @clients;
	my $client = $number % 12 ? $fast[ $number % @fast ] : 'java';
	push @crowd,
	  start_client($client, [ 'console', 1, "buyer $number" ], %via, compiled => 1);
}
my %count;
foreach my $buyer (map { finish_client($_) } @crowd)
{
	my $outcome = "$buyer->{status}: $buyer->{said}";
	$count{$outcome}++;
}
is_deeply(
	\%count,
	{
		"0: held UUID\npaid 10\nsold UUID\n" => $units,
		"3: sold out, 0 left\n" => $buyers - $units
	},
	"$buyers buyers, $units units: so many are sold, and everybody else is told so");
value_is($node,
	"SELECT count(*), sum(total) FROM inv_order WHERE customer LIKE 'buyer %'",
	"$units|" . 10 * $units, 'and as many orders made');
value_is($node, "SELECT on_hand, reserved FROM inv_availability WHERE sku = 'console'",
	'0|0', 'nothing is left');

my $log = slurp_file("$dir/pgbouncer.log");
my $logins = () = $log =~ /C-.*: postgres\/.* login attempt/g;
cmp_ok($logins, '>=', $buyers, 'each over a connection of his own to pgbouncer');
my $connections = () = through('pgbouncer', 'SHOW SERVERS') =~ /^S\|\w+\|postgres\|/mg;
cmp_ok($connections, '>', 0, 'which has some to the server');
cmp_ok($connections, '<=', $servers, "and no more than $servers");

# What the README says of settings: they stay with a connection that others get.
through('single', q{SET inventory_reservation.default_ttl = '1h'});
is(through('single', 'SHOW inventory_reservation.default_ttl'),
	'1h', 'a setting of one session meets another');

# And of prepared statements, which PDO names alike in every client.
my $two_clients = q{
	foreach ([1, 2] as $n) {
		$db[$n] = new PDO('pgsql:', options: [PDO::PGSQL_ATTR_DISABLE_PREPARES => $argv[1] === 'without']);
		$kept[$n] = $db[$n]->prepare("SELECT $n * ?::integer");
		$kept[$n]->execute([1]);
	}
	$kept[1]->execute([1]);
	echo $kept[1]->fetchColumn();};
foreach my $how (qw(with without))
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGUSER)} = ('127.0.0.1', $port, 'single', $user);
	IPC::Run::run([ 'php', '-r', $two_clients, '--', $how ], '<', \'', '>&', \my $said);
	is($said, $how eq 'with' ? 2 : 1, "whose statement a client runs $how statements that are kept");
}

$bouncer->signal('INT');
$bouncer->finish;
$log = slurp_file("$dir/pgbouncer.log");
unlike($log, qr/unsupported/, 'pgbouncer has met nothing it does not know');

books_are_right($node);

$node->stop;
done_testing();
