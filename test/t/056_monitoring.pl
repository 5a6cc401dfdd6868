# What is in examples/monitoring works: the queries with the real
# prometheus-postgres-exporter and the role of docs/operations.md, and alerts
# and dashboard ask for nothing that it does not deliver.
use strict;
use warnings;

use CPAN::Meta::YAML;
use FindBin;
use HTTP::Tiny;
use InventoryTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $top = "$FindBin::Bin/../..";
my $examples = "$top/examples/monitoring";
my $manual = slurp_file("$top/docs/operations.md");

my $node = inventory_node('shop', init => { allows_streaming => 1 }, conf => <<'CONF');
shared_preload_libraries = 'inventory_reservation'
inventory_reservation.worker_enabled = off
inventory_reservation.naptime = 1s
inventory_reservation.reconcile_interval = 1s
CONF

#
# The exporter
#

# As the manual says: some of its own metrics want more rights than it has.
my @no_own_metrics = qw(--disable-default-metrics --disable-settings-metrics);
push @no_own_metrics, '--no-collector.wal'
  if `prometheus-postgres-exporter --help 2>&1` =~ /--(?:\[no-\])?collector\.wal\b/;

# Have an exporter with these queries scraped, of a server.  Returns what it delivers, as
# name => [ { labels => { }, value => } ], and name => type.
sub scrape
{
	my ($file, $what, $server) = (@_, $node);
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $url = "http://127.0.0.1:$port/metrics";
	my $http = HTTP::Tiny->new(timeout => 60, no_proxy => [ '127.0.0.1' ]);
	my ($answer, $log, %metrics, %type) = ({ success => 0 }, '');

	local $ENV{DATA_SOURCE_NAME} = sprintf
	  'user=inventory_monitor dbname=postgres host=%s port=%s',
	  $server->host, $server->port;
	my $exporter = IPC::Run::start(
		[
			'prometheus-postgres-exporter', "--extend.query-path=$file",
			@no_own_metrics,
			"--web.listen-address=127.0.0.1:$port"
		],
		'<', \'', '>&', \$log);
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (!$answer->{success} && time() < $deadline)
	{
		$exporter->pump_nb;
		last if !$exporter->pumpable;
		$answer = $http->get($url);
		sleep 0.1 if !$answer->{success};
	}
	# now that it is connected for certain
	$answer = $http->get($url);
	$exporter->signal('TERM');
	$exporter->finish;

	ok($answer->{success}, "$what: the exporter answers") or diag $log;
	like($log, qr/Listening on/, "$what: the exporter's log");
	# Newer ones would rather have no queries, but a file of settings.
	$log =~ s/.*(?: is DEPRECATED|Error loading config).*\n//g;
	unlike($log, qr/level=warn|panic|err=|error/i,
		"$what: the exporter has no complaint");
	foreach (split /\n/, $answer->{content})
	{
		$type{$1} = $2 if /^# TYPE (\S+) (\S+)/;
		next unless /^(\w+)(?:\{(.*)\})? (\S+)$/;
		my ($name, $labels, $value) = ($1, $2 || '', $3);
		push @{ $metrics{$name} },
		  { labels => { $labels =~ /(\w+)="([^"]*)"/g }, value => $value };
	}
	is($metrics{pg_exporter_last_scrape_error}[0]{value},
		'0', "$what: no error in the scrape");
	return (\%metrics, \%type);
}

# The value of a metric, the only one with these labels.
sub value_of
{
	my ($metrics, $name, %labels) = @_;
	my @found = grep {
		my $its = $_->{labels};
		!grep { ($its->{$_} // '') ne $labels{$_} } keys %labels
	} @{ $metrics->{$name} || [] };

	return @found == 1 ? $found[0]{value} : scalar(@found) . ' values';
}

# Everything that a file of queries promises is there, and is what it says.
sub promises_are_kept
{
	my ($file, $metrics, $type) = @_;
	my $queries = CPAN::Meta::YAML->read($file)->[0];
	my (@missing, @others, $count);

	foreach my $query (sort keys %$queries)
	{
		foreach my $column (map { %$_ } @{ $queries->{$query}{metrics} })
		{
			next if ref $column;
			my ($promise) = map { $_->{$column} || () }
			  @{ $queries->{$query}{metrics} };
			next if $promise->{usage} eq 'LABEL';
			my $name = "${query}_$column";
			push @missing, $name if !$metrics->{$name};
			push @others, $name if ($type->{$name} || '') ne lc $promise->{usage};
			$count++;
			push @others, "$name: no description"
			  if length $promise->{description} < 5;
			push @others, "$name: a counter ends in _total, and nothing else"
			  if ($promise->{usage} eq 'COUNTER') != ($name =~ /_total$/);
		}
	}
	cmp_ok($count, '>', 1, "$count metrics in $file");
	is_deeply(\@missing, [], 'all are delivered');
	is_deeply(\@others, [], 'and are what they are said to be');
	return;
}

# The role that docs/operations.md makes.
my ($role) = $manual =~ /^```sql\n(CREATE ROLE inventory_monitor.*?)^```/ms;
$node->safe_psql('postgres', $role);
foreach my $query ('SELECT customer FROM inv_reservation',
	'SELECT reason FROM inv_ledger', 'SELECT * FROM inv_order',
	q{SELECT inv_reserve('S1')})
{
	my ($status, $out, $err) = $node->psql('postgres', $query,
		extra_params => [ '-U', 'inventory_monitor' ]);
	like($err, qr/permission denied|read-only/, "it may not: $query");
}

#
# Some sales
#

add_stock($node, S1 => 10, S2 => 10);
$node->safe_psql('postgres', q{
	SELECT inv_confirm((inv_reserve('S1', 2, 'a')).reservation_id);
	SELECT inv_confirm((inv_reserve('S1', 1)).reservation_id);
	SELECT inv_reserve('S1', 2, 'a');
	SELECT inv_cancel((inv_reserve('S2', 1)).reservation_id);
	SELECT inv_release((inv_reserve('S2', 3)).reservation_id, 'S2', 1);
	SELECT inv_try_reserve('S1', 100);
	SELECT inv_reserve_cart(ARRAY['S1', 'S2'], '{1,1}', ttl => '10 milliseconds');
	SELECT pg_sleep(0.1)});
is(sqlstate_of($node, q{SELECT inv_reserve('S3')}), 'IV004', 'unknown SKU');
is(sqlstate_of($node, q{SELECT inv_reserve('S2', key => 'a')}),
	'IV005', 'key reused');
my $writer = $node->background_psql('postgres');
$writer->query_safe(q{BEGIN; SELECT inv_receive('S2', 1)});
$node->safe_psql('postgres', q{SELECT inv_receive('S1', 1)});

my ($metrics, $type) = scrape("$examples/queries.yaml", 'queries');
$writer->query_safe('COMMIT');
$writer->quit;
promises_are_kept("$examples/queries.yaml", $metrics, $type);
my %expected = (
	counting => 1, in_recovery => 0, reserves_total => 5, replays_total => 1,
	confirms_total => 2, cancels_total => 1, releases_total => 1,
	extensions_total => 0, worker_runs_total => 0, drifts_found_total => 0,
	lock_waits_total => 0, hold_live_lines => 1, hold_dead_lines => 2);
is(value_of($metrics, "inventory_$_", datname => 'postgres'),
	$expected{$_}, "inventory_$_")
  foreach sort keys %expected;
is(value_of($metrics, 'inventory_rejections_total', reason => $_->[0]),
	$_->[1], "rejections: $_->[0]")
  foreach [ insufficient_stock => 1 ], [ unknown_sku => 1 ],
  [ key_reused => 1 ], [ expired => 0 ];
is(scalar(@{ $metrics->{inventory_rejections_total} }), 11, 'all reasons');
cmp_ok(value_of($metrics, 'inventory_oldest_dead_hold_seconds'),
	'>', 0.05, 'the age of the dead hold');
cmp_ok(value_of($metrics, 'inventory_oldest_dead_hold_seconds'),
	'<', 600, 'in seconds');
cmp_ok(value_of($metrics, 'inventory_ledger_withheld_seconds'),
	'>', 0, 'an entry waits for a transaction');
cmp_ok(abs(time() - value_of($metrics, 'inventory_stats_reset_timestamp_seconds')),
	'<', 600, 'a time in seconds');
is(value_of($metrics, 'inventory_table_bytes', table => 'inv_order'),
	$node->safe_psql('postgres', q{SELECT pg_total_relation_size('inv_order')}),
	'the size of a table');
my %delivered = %$metrics;

# What the worker and a sweep do.
$node->append_conf('postgresql.conf',
	'inventory_reservation.worker_enabled = on');
$node->reload;
$node->safe_psql('postgres', 'SELECT inv_expire()');
$node->poll_query_until('postgres',
	'SELECT worker_runs > 1 AND reconciliations > 1 FROM inv_stat')
  or die 'no worker comes';
($metrics) = scrape("$examples/queries.yaml", 'with a worker');
cmp_ok(value_of($metrics, 'inventory_worker_runs_total'), '>', 1, 'runs');
cmp_ok(value_of($metrics, 'inventory_reconciliations_total'),
	'>', 1, 'reconciliations');
cmp_ok(abs(time() -
		value_of($metrics, 'inventory_worker_last_run_timestamp_seconds')),
	'<', 60, 'the last run');
is(value_of($metrics, 'inventory_expired_lines_total', who => 'sweep'),
	2, 'swept lines');
is(value_of($metrics, 'inventory_oldest_dead_hold_seconds'),
	0, 'no hold is dead any more');
is(value_of($metrics, 'inventory_hold_dead_lines'), 0, 'no line either');
is(value_of($metrics, 'inventory_ledger_withheld_seconds'),
	0, 'no entry waits');

# The check, with and without a violation.
($metrics, $type) = scrape("$examples/check.yaml", 'check');
promises_are_kept("$examples/check.yaml", $metrics, $type);
%delivered = (%delivered, %$metrics);
is(value_of($metrics, 'inventory_check_violations'), 0, 'no violation');
books_are_right($node);
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET inventory_reservation.worker_enabled = off;
	SELECT pg_reload_conf();
	UPDATE inv_stock SET on_hand = on_hand + 1 WHERE item_id = 1});
($metrics) = scrape("$examples/check.yaml", 'check');
is(value_of($metrics, 'inventory_check_violations'), 1, 'a violation');
$node->safe_psql('postgres',
	'UPDATE inv_stock SET on_hand = on_hand - 1 WHERE item_id = 1');

#
# Alerts and dashboard
#

my %functions = map { $_ => 1 }
  qw(absent and by increase max on or rate sum time unless);
# Prometheus adds these itself
my @everywhere = qw(instance job);

# What an expression asks for that is not delivered.
sub unknown_in
{
	my ($expression) = @_;
	# those that Prometheus adds, and those of the exporter
	my %labels = map { $_ => 1 } 'instance', 'job', @everywhere;
	my @unknown;

	foreach my $name ($expression =~ /\b(inventory_\w+)/g)
	{
		$labels{$_} = 1
		  foreach map { keys %{ $_->{labels} } } @{ $delivered{$name} || [] };
	}
	$expression =~ s/"[^"]*"//g;
	push @unknown, grep { !$labels{$_} } /(\w+)\s*(?:=|!=|=~|!~)/g
	  foreach $expression =~ /\{([^}]*)\}/g;
	push @unknown, grep { !$labels{$_} } /(\w+)/g
	  foreach $expression =~ /\b(?:by|on) \(([^)]*)\)/g;
	$expression =~ s/\{[^}]*\}|\b(?:by|on) \([^)]*\)|\[[^\]]*\]//g;
	push @unknown, grep { !$functions{$_} && !$delivered{$_} }
	  $expression =~ /\b([A-Za-z_]\w*)/g;
	push @unknown, 'nothing' if $expression !~ /inventory_/;
	return @unknown;
}

is_deeply([ unknown_in('rate(inventory_none{nowhere="x"}[5m])') ],
	[ 'nowhere', 'inventory_none' ], 'what is not delivered is noticed');

my $rules = CPAN::Meta::YAML->read("$examples/alerts.yaml")->[0]{groups}[0]{rules};
my @sections = $manual =~ /^## Alerts\n(.*?)^## /ms ? $1 =~ /^### (\w+)$/mg : ();
is_deeply([ map { $_->{alert} } @$rules ],
	\@sections, 'docs/operations.md has a section for each alert');
foreach my $rule (@$rules)
{
	is_deeply([ unknown_in($rule->{expr}) ],
		[], "$rule->{alert} asks for what there is");
	ok( $rule->{labels}{severity} && $rule->{annotations}{summary}
		  && $rule->{annotations}{description},
		"$rule->{alert} says what it is about");
}

my $dashboard = decode_json(slurp_file("$examples/grafana-dashboard.json"));
my @panels = @{ $dashboard->{panels} };
my %variables = map { $_->{name} => 1 } @{ $dashboard->{templating}{list} };
my (%ids, @cells, @bad);
foreach my $panel (@panels)
{
	my $at = $panel->{gridPos};
	push @bad, "$panel->{title}: its id is taken" if $ids{ $panel->{id} }++;
	foreach my $x ($at->{x} .. $at->{x} + $at->{w} - 1)
	{
		push @bad, "$panel->{title}: not on the grid" if $x > 23;
		push @bad, "$panel->{title}: lies on another"
		  if grep { $cells[$_][$x]++ } $at->{y} .. $at->{y} + $at->{h} - 1;
	}
	next if $panel->{type} eq 'row';
	push @bad, "$panel->{title}: no $_->[0]" foreach grep { !$_->[1] } (
		[ description => $panel->{description} ],
		[ unit => $panel->{fieldConfig}{defaults}{unit} ],
		[ target => scalar @{ $panel->{targets} } ]);
	foreach my $target (@{ $panel->{targets} })
	{
		push @bad, map { "$panel->{title}: $_" } unknown_in($target->{expr});
		push @bad, map { "$panel->{title}: no variable $_" }
		  grep { !$variables{$_} && $_ !~ /^__/ }
		  ($target->{expr} . $target->{datasource}{uid}) =~ /\$\{?(\w+)/g;
	}
}
cmp_ok(scalar(@panels), '>', 15, 'the dashboard has panels');
is_deeply(\@bad, [], 'all of them in order');

SKIP:
{
	skip 'no promtool', 1 if system('command -v promtool >/dev/null') != 0;
	command_ok([ 'promtool', 'check', 'rules', "$examples/alerts.yaml" ],
		'promtool takes the alerts');
}

#
# Messages
#

# Each message for the log, by its longest piece without a placeholder.
my $source = join '', map { slurp_file($_) } glob "$top/src/*/*.c";
my @silent;
my $messages = 0;
while ($source =~ /ereport\((?:LOG|WARNING|NOTICE),.*?errmsg\((?:"((?:[^"\\]|\\.)*)")/gs)
{
	my ($piece) = sort { length $b <=> length $a } split /\\"|%\w/, $1;
	$piece =~ s/^\W+|\W+$//g;
	push @silent, $piece if index($manual, $piece) < 0;
	$messages++;
}
cmp_ok($messages, '>', 5, "$messages messages for the log");
is_deeply(\@silent, [], 'docs/operations.md explains each');

#
# A standby
#

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
($metrics) = scrape("$examples/queries.yaml", 'standby', $standby);
is(value_of($metrics, 'inventory_in_recovery'), 1, 'it says what it is');
is(value_of($metrics, 'inventory_hold_live_lines'), 1, 'and sees the holds');
($metrics) = scrape("$examples/check.yaml", 'check on the standby', $standby);
is(value_of($metrics, 'inventory_check_violations'), 0, 'and may check');
$standby->stop;

#
# Restored into another server, whose transactions have smaller ids than those
# in the ledger: they are all over, and no entry waits
#

my $ledger_query = CPAN::Meta::YAML->read("$examples/queries.yaml")->[0]
  {inventory_ledger}{query};
$node->safe_psql('postgres', q{
	UPDATE inv_ledger_epoch SET system_identifier = 1;
	UPDATE inv_ledger SET xid = (xid::text::bigint + 1000000)::text::xid8});
value_is($node, 'SELECT (SELECT count(*) FROM inv_ledger) - count(*), count(*) > 0 FROM inv_events()',
	'0|t', 'restored: all events are there');
is( $node->safe_psql('postgres', "SELECT withheld_seconds FROM ($ledger_query) AS metrics",
		extra_params => [ '-U', 'inventory_monitor' ]),
	0, 'restored: and none is said to be withheld');

#
# Without shared_preload_libraries
#

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
($metrics) = scrape("$examples/queries.yaml", 'not preloaded');
is(value_of($metrics, 'inventory_counting'), 0, 'nothing is counted');
is(value_of($metrics, 'inventory_reserves_total'), 'NaN', 'and nothing told');
is(value_of($metrics, 'inventory_hold_live_lines'), 1, 'lines are');
is(value_of($metrics, 'inventory_oldest_dead_hold_seconds'), 0, 'and age is');
books_are_right($node);

$node->stop;
done_testing();
