# What is in examples/migrate brings stock and live holds of other systems into
# the extension, once, however often it is run; and says what it could not
# bring.  The exports in samples/ are of 2026-01-15 10:00 UTC; their times are
# moved to now, so that the holds that were live then are live.
use strict;
use warnings;

use File::Path qw(make_path);
use FindBin;
use InventoryTest;
use PostgreSQL::Test::Utils;
use POSIX qw(strftime);
use Test::More;
use Time::Local qw(timegm);
use Time::HiRes qw(time);

my $examples = "$FindBin::Bin/../../examples/migrate";
my $dir = PostgreSQL::Test::Utils::tempdir;
my $exported_at = 1768471200;
my $later = int(time()) - $exported_at;
my $node = inventory_node('shop');

# Who imports need not be a superuser.
$node->safe_psql('postgres', q{
	CREATE ROLE importer LOGIN;
	GRANT CREATE ON DATABASE postgres TO importer;
	SELECT inv_grant('importer', 'operator')});

sub moved
{
	my ($text) = @_;
	$text =~ s{(\d{4})-(\d\d)-(\d\d)([T ])(\d\d):(\d\d):(\d\d)}
		{strftime("%Y-%m-%d$4%H:%M:%S", gmtime(timegm($7, $6, $5, $3, $2 - 1, $1) + $later))}ge;
	$text =~ s/\b(\d{10})(\d{3})\b/($1 + $later) . $2/ge;
	return $text;
}

# A sample, with its times moved.
sub sample
{
	my ($name) = @_;
	make_path("$dir/samples");
	(my $copy = "$dir/samples/$name") =~ s{samples/(\w+)/}{samples/$1-};
	append_to_file($copy, moved(slurp_file("$examples/samples/$name")));
	return $copy;
}

# Run a program; its exit status and what it said.
sub run_program
{
	my ($env, @command) = @_;
	local @ENV{qw(PGHOST PGPORT PGDATABASE PGOPTIONS)} =
	  ($node->host, $node->port, 'postgres', '');
	local @ENV{ keys %$env } = values %$env;
	IPC::Run::run(\@command, '<', \'', '>', \my $said, '2>', \my $complaint,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $status = $? >> 8;
	note "$said$complaint";
	return ($status, $said, $complaint);
}

# Have a script of examples/migrate write stock.csv and holds.csv.
sub convert
{
	my ($script, %env) = @_;
	my $out = "$dir/$script" . ($env{PGDATABASE} || '');
	make_path($out);
	my ($status, $said, $complaint) =
	  run_program({ %env, OUT => $out }, 'psql', '-X', '-f', "$examples/$script.sql");
	is("$status$said$complaint", '0', "$script writes the files");
	return ("$out/stock.csv", "$out/holds.csv");
}

sub import_files
{
	return run_program({ PGUSER => 'importer' }, "$examples/import.sh", @_);
}

# The summary that import.sh prints, as file => [ numbers ].
sub summary
{
	my ($said) = @_;
	my %numbers;

	foreach my $line (split /\n/, $said)
	{
		my ($file, @four) = $line =~ /^ (stock|holds) \| +(\d+) \| +(\d+) \| +(\d+) \| +(\d+)$/;
		$numbers{$file} = join '|', @four if $file;
	}
	return \%numbers;
}

sub write_file
{
	my ($name, $text) = @_;
	unlink "$dir/$name";
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

my $state = q{
	SELECT sku, on_hand, reserved, available, unit_price, currency FROM inv_availability ORDER BY sku;
	SELECT * FROM inv_reservation ORDER BY reservation_id, line_no;
	SELECT count(*) FROM inv_ledger;
	SELECT count(*) FROM inv_idempotency};

# Imported, and imported again, with the same state.
sub imports
{
	my ($what, $files, $first, $again) = @_;
	my ($status, $said) = import_files(@$files);
	is($status, 0, "$what: imported");
	is_deeply(summary($said), $first, "$what: and told so");
	my $before = $node->safe_psql('postgres', $state);
	($status, $said) = import_files(@$files);
	is($status, 0, "$what: imported again");
	is_deeply(summary($said), $again, "$what: nothing is left to do");
	is($node->safe_psql('postgres', $state), $before, "$what: and nothing has changed");
	return;
}

sub stock_is
{
	my ($skus, $expected, $name) = @_;
	return value_is($node,
		"SELECT sku, on_hand, reserved, available, unit_price FROM inv_availability"
		  . " WHERE sku ~ '^($skus)' ORDER BY sku, location", $expected, $name);
}

sub holds_are
{
	my ($skus, $expected, $name) = @_;
	return value_is($node, qq{
		SELECT sku, quantity, customer, reference,
		       round(extract(epoch FROM expires_at)) - $later - $exported_at
		  FROM inv_reservation_lines
		 WHERE sku ~ '^($skus)' AND status = 'active' ORDER BY sku, quantity}, $expected, $name);
}

# MongoDB
my @files = convert('from_mongodb', STOCK => sample('mongodb/products.jsonl'),
	HOLDS => sample('mongodb/reservations.jsonl'));
imports('MongoDB', \@files,
	{ stock => '4|0|0|0', holds => '3|0|1|0' }, { stock => '0|4|0|0', holds => '0|3|1|0' });
stock_is('LAPTOP|PHONE|CAMERA|CHARGER',
	"CAMERA001|3|2|1|1599.99\nLAPTOP001|5|2|3|1299.99\nPHONE001|10|1|9|899.5",
	'MongoDB: the stock, without the dead hold');
holds_are('LAPTOP|PHONE|CAMERA',
	"CAMERA001|2|u-1500||660\nLAPTOP001|2|u-1041||872\nPHONE001|1|u-2207|web-77120|482",
	'MongoDB: the live holds, for as long as they had left');
value_is($node, q{SELECT name FROM inv_item WHERE sku ~ 'LAPTOP|PHONE|CAMERA|CHARGER' ORDER BY sku},
	qq{Systemkamera für Reisen\nCharger, 65 W\nLaptop, 14 inch "Pro"\nPhone\\128 GB},
	'MongoDB: names survive the way');

# Redis
@files = convert('from_redis', STOCK => sample('redis/inventory.csv'),
	HOLDS => sample('redis/reservations.csv'));
imports('Redis', \@files,
	{ stock => '3|0|0|0', holds => '2|0|1|0' }, { stock => '0|3|0|0', holds => '0|2|1|0' });
stock_is('SPEAKER|WATCH|TABLET',
	"SPEAKER001|25|3|22|149.99\nTABLET001|2|0|2|699.99\nWATCH001|15|1|14|399.99",
	'Redis: what is available and what is held make on hand');
holds_are('SPEAKER|WATCH|TABLET', "SPEAKER001|3|u-88||900\nWATCH001|1|u-19||420",
	'Redis: the live holds');

# SQL, in databases of their own
foreach my $shop (qw(counters unit_rows))
{
	$node->safe_psql('postgres', "CREATE DATABASE $shop");
	$node->safe_psql($shop, moved(slurp_file("$examples/samples/sql/$shop.sql")));
}
@files = convert('from_sql', PGDATABASE => 'counters');
imports('SQL', \@files,
	{ stock => '3|0|0|0', holds => '2|0|0|0' }, { stock => '0|3|0|0', holds => '0|2|0|0' });
stock_is('KETTLE|TOASTER|MIXER', "KETTLE001|40|4|36|39.90\nMIXER001|7|0|7|59.00\nTOASTER001|12|1|11|29.90",
	'SQL: the stock');
holds_are('KETTLE|TOASTER|MIXER',
	"KETTLE001|1|31|A-2026-1188|600\nKETTLE001|3|32|A-2026-1189|750\nTOASTER001|1|31|A-2026-1188|600",
	'SQL: the live holds');
value_is($node, q{SELECT count(*), count(DISTINCT reservation_id) FROM inv_reservation_lines
	WHERE reference = 'A-2026-1188'}, '2|1', 'SQL: a hold of two lines is a cart');

@files = convert('from_unit_rows', PGDATABASE => 'unit_rows');
imports('unit rows', \@files,
	{ stock => '2|0|0|0', holds => '1|0|1|0' }, { stock => '0|2|0|0', holds => '0|1|1|0' });
stock_is('TICKET', "TICKET-A|18|2|16|85.00\nTICKET-B|27|1|26|45.00", 'unit rows: the stock');
holds_are('TICKET', "TICKET-A|2|visitor-9||420\nTICKET-B|1|visitor-9||420", 'unit rows: the live hold');

# After units have been sold here, the same files change nothing.
$node->safe_psql('postgres', q{
	SELECT inv_confirm(reservation_id) FROM inventory_import.hold
	 WHERE id IN (SELECT metadata ->> 'imported_id' FROM inv_reservation WHERE customer = 'visitor-9')});
my $sold = $node->safe_psql('postgres', $state);
my ($status, $said, $complaint) = import_files(@files);
is($status, 0, 'run after a sale');
is($node->safe_psql('postgres', $state), $sold, 'nothing comes back that was sold');

# Nor if it is not remembered any more what was imported: the keys know.
$node->safe_psql('postgres', 'DROP SCHEMA inventory_import CASCADE');
($status, $said, $complaint) = import_files(@files);
is($status, 3, 'run without its memory: the holds are refused');
is_deeply(summary($said), { stock => '2|0|0|0', holds => '0|0|1|1' }, 'the stock has its keys');
like($said, qr/IV005/, 'and so have the holds');
is($node->safe_psql('postgres', $state), $sold, 'nothing has changed');

# Rows that cannot be imported: all others are, and each is named with the reason.
$node->safe_psql('postgres', q{SELECT inv_add_location('store'); SELECT inv_add_item('OWN', 'ours', 5, 'EUR');
	SELECT inv_receive('OWN', 7)});
my $soon = strftime('%Y-%m-%d %H:%M:%SZ', gmtime(time() + 3600));
my $far = strftime('%Y-%m-%d %H:%M:%SZ', gmtime(time() + 3 * 86400));
my @rows = (
	'GOOD,Good,1.50,EUR,10,' => undef,
	'GOOD,Good,1.50,EUR,4,store' => undef,
	'NOWHERE,Nowhere,1,EUR,10,moon' => 'IV010.*unknown location',
	'TEN,Ten,1,EUR,ten,' => '22P02.*bigint: "ten"',
	'DEBT,Debt,1,EUR,-1,' => '22023',
	'DEAR,Dear,x,EUR,1,' => '22P02.*numeric: "x"',
	',Nameless,1,EUR,1,' => '22023',
	'NONE,None,1,EUR,,' => '22023',
	'OWN,Own,5,EUR,3,' => 'P0001.*there are 7 units here that were not imported',
	'"quoted, ""so""",Quoted,2,EUR,1,' => undef);
my @hold_rows = (
	"h1,GOOD,2,ann,o-1,$soon," => undef,
	"h2,GOOD,9,bob,,$soon," => 'IV001.*insufficient stock.*9 requested, 8 available',
	"h3,GOOD,1,cleo,,$soon,store" => undef,
	"h4,TEN,1,dan,,$soon," => 'IV004.*unknown SKU "TEN"',
	"h5,GOOD,1,eve,,$far," => 'P0001.*would live until .* only; raise inventory_reservation.max_ttl',
	"h6,GOOD,1,fay,,soon," => '22007',
	",GOOD,1,gus,,$soon," => 'P0001.*needs an id',
	"h7,GOOD,1,hal,,$soon,\nh7,GOOD,1,ida,,$soon," => 'P0001.*differ in more');

# Those of a list of row => problem that have one, and how many have none.
sub problems_are_told
{
	my ($said, $file, @list) = @_;
	my ($row_no, $good) = (0, 0);
	while (my ($row, $problem) = splice @list, 0, 2)
	{
		my $told = join "\n", $said =~ /^ *$file +\| +@{[ $row_no + 1 ]} \|.*$/mg;
		$row_no += 1 + ($row =~ tr/\n//);
		if (defined $problem)
		{
			like($told, qr/$problem/, "told: $row");
		}
		else
		{
			is($told, '', "no problem: $row");
			$good++;
		}
	}
	return $good;
}
my $bad_stock = write_file('bad_stock.csv', join "\n", 'sku,name,price,currency,on_hand,location',
	(map { $rows[ 2 * $_ ] } 0 .. $#rows / 2), '');
my $bad_holds = write_file('bad_holds.csv', join "\n",
	'id,sku,quantity,customer,reference,expires_at,location',
	(map { $hold_rows[ 2 * $_ ] } 0 .. $#hold_rows / 2), '');
($status, $said, $complaint) = import_files($bad_stock, $bad_holds);
is($status, 3, 'rows that cannot be imported: the exit status says so');
like($complaint, qr/not everything was imported/, 'and a message');
my $good = problems_are_told($said, 'stock', @rows);
my $good_holds = problems_are_told($said, 'holds', @hold_rows);
is_deeply(
	summary($said),
	{
		stock => "$good|0|0|" . (@rows / 2 - $good),
		holds => "$good_holds|0|0|" . (@hold_rows / 2 - $good_holds)
	},
	'all others are imported');
stock_is('GOOD|NOWHERE|TEN|DEBT|DEAR|NONE|OWN|quoted',
	"GOOD|10|2|8|1.50\nGOOD|4|1|3|1.50\nOWN|7|0|7|5\nquoted, \"so\"|1|0|1|2",
	'nothing is left of those that are not');

# Changed in the other system since, and put right there or here.
($status, $said) = import_files(
	write_file('more.csv', "sku,name,price,currency,on_hand,location\nGOOD,Good,1.50,EUR,11,\n"),
	write_file('less.csv',
		"id,sku,quantity,customer,reference,expires_at,location\nh1,GOOD,1,ann,o-1,$soon,\n"));
is($status, 3, 'other numbers than were imported are refused');
like($said, qr/10 units were imported before.*2 units were imported before/s, 'with what there was');

# Not what it takes.
($status, $said, $complaint) = import_files(
	write_file('columns.csv', "sku,name,price,currency,location,on_hand\nX,X,1,EUR,,1\n"), $bad_holds);
isnt($status, 0, 'columns in another order are refused');
like($complaint, qr/column name mismatch/, 'and named');
($status) = import_files("$dir/none.csv", $bad_holds);
isnt($status, 0, 'a file that is not there is an error');
($status, $said, $complaint) = run_program({ PGDATABASE => 'counters' }, "$examples/import.sh", $bad_stock, $bad_holds);
like($complaint, qr/has no extension inventory_reservation/, 'so is a database without the extension');
is($status, 3, 'by its exit status too');

books_are_right($node);

$node->stop;
done_testing();
