# The examples of README.md work, and after them those of docs/operations.md and
# docs/migrating.md: every fenced block of SQL is run, in order, in one psql session for each file
# on a fresh server, as a reader would paste them.  Where a block of text
# follows, it is compared with what psql printed; elsewhere an error is a
# failure.
#
# Ids and times differ in each run, and with them the width of columns.  So
# both sides are compared with those masked and runs of blanks and dashes made
# one.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The SQL blocks of a file, each with the line it begins in and the text that
# follows it.
sub examples_of
{
	my ($file) = @_;
	my $text = slurp_file("$FindBin::Bin/../../$file");
	my @blocks;

	while ($text =~ /^```sql\n(.*?)^```\n(?:```text\n(.*?)^```\n)?/msg)
	{
		my ($sql, $expected) = ($1, $2);
		my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);
		push @blocks, { line => $line, sql => $sql, expected => $expected };
	}
	cmp_ok(scalar(@blocks), '>', 5, "$file has examples");
	return @blocks;
}

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
wal_level = logical
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
$node->safe_psql('postgres', 'CREATE DATABASE shop');

sub masked
{
	my ($text) = @_;
	$text =~ s/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/UUID/g;
	$text =~ s/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+\d\d\b/TIME/g;
	$text =~ s/-+/-/g;
	$text =~ s/ +/ /g;
	$text =~ s/ $//mg;
	$text =~ s/^ //mg;
	$text =~ s/\n+$/\n/;
	return $text;
}

# Run examples in one session, and return what psql printed: line => text.
# psql flushes its output before it reports an error, so both may go into one
# file and keep their order.
sub run_examples
{
	my ($database, @blocks) = @_;
	return if !@blocks;
	my $script = join '', map { "\\echo block $_->{line}\n$_->{sql}" } @blocks;
	my $script_file = PostgreSQL::Test::Utils::tempdir . '/examples.sql';
	append_to_file($script_file, $script);

	my $both = '';
	IPC::Run::run(
		[ 'psql', '-Xq', '-d', $node->connstr($database) ],
		'<', $script_file, '>', \$both, '2>&1');
	note $both;

	my @parts = split /^block (\d+)\n/m, $both;
	is(shift @parts, '', 'psql says nothing before the first example');
	return @parts;
}

# Run the examples of a file: in the database shop, but those for pg_cron where
# that is.
sub examples_work
{
	my ($file) = @_;
	my @blocks = examples_of($file);
	my %printed = (
		run_examples('shop', grep { $_->{sql} !~ /\bcron\./ } @blocks),
		run_examples('postgres', grep { $_->{sql} =~ /\bcron\./ } @blocks));

	foreach my $block (@blocks)
	{
		my $name = "example in line $block->{line} of $file";
		my $printed = $printed{ $block->{line} };

		if (!defined $printed)
		{
			fail("$name was run");
		}
		elsif (defined $block->{expected})
		{
			is(masked($printed), masked($block->{expected}),
				"$name prints what the file says");
		}
		else
		{
			unlike($printed, qr/^(ERROR|FATAL|PANIC|WARNING|invalid command)/m,
				"$name works");
		}
	}
	return;
}

examples_work('README.md');

# What the examples under "Security" promise: the tables are the new owner's,
# and the buyer's role can buy and no more.
is( $node->safe_psql('shop',
		q{SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'inv'}),
	'inventory_owner',
	'the tables belong to the owner who is not a superuser');

my ($status, $out, $err) = $node->psql(
	'shop',
	q{SELECT status FROM inv.inv_reserve('CAMERA001', customer => 'carol');
	  SELECT available FROM inv.inv_availability WHERE sku = 'CAMERA001'},
	extra_params => [ '-U', 'storefront' ]);
is($out, "active\n0", 'the buyer holds and reads') or diag $err;

foreach my $query ('SELECT * FROM inv.inv_stock',
	q{SELECT inv.inv_receive('CAMERA001', 1)})
{
	($status, $out, $err) =
	  $node->psql('shop', $query, extra_params => [ '-U', 'storefront' ]);
	like($err, qr/permission denied/, "the buyer may not: $query");
}

examples_work('docs/operations.md');
foreach my $command ($node->safe_psql('postgres',
		"SELECT command FROM cron.job WHERE jobname LIKE 'inventory %'") =~ /.+/g)
{
	is($node->psql('shop', $command), 0, "the job works: $command");
}

# What docs/migrating.md speaks of has been imported by then.
my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/stock.csv", <<'CSV');
sku,name,price,currency,on_hand,location
MIXER001,"Mixer, 500 W",59.00,EUR,7,
KETTLE002,"Kettle, 1 l",34.90,EUR,40,
TOASTER002,"Toaster, red",29.90,EUR,12,
CSV
append_to_file("$dir/holds.csv", <<'CSV' =~ s/SOON/$node->safe_psql('shop', q(SELECT now() + '1 hour'))/ger);
id,sku,quantity,customer,reference,expires_at,location
7001,TOASTER002,1,31,A-2026-1188,SOON,
7002,KETTLE002,3,32,A-2026-1189,SOON,
7003,MIXER001,9,33,A-2026-1190,SOON,
CSV
my $manual = slurp_file("$FindBin::Bin/../../docs/migrating.md");
my ($report) = $manual =~ m{^```sh\nexamples/migrate/import.sh stock.csv holds.csv\n```\n```text\n(.*?)^```}ms;
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'shop');
	IPC::Run::run(
		[
			"$FindBin::Bin/../../examples/migrate/import.sh",
			"$dir/stock.csv", "$dir/holds.csv"
		],
		'<', \'', '>', \$out, '2>', \$err);
	is($? >> 8, 3, 'a hold is not imported') or diag $err;
}
is(masked($out), masked($report), 'import.sh reports what docs/migrating.md says');
examples_work('docs/migrating.md');

is($node->safe_psql('shop', 'SELECT count(*) FROM inv.inv_check()'),
	'0', 'the books are right afterwards');

$node->stop;
done_testing();
