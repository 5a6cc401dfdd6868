# README.md and the extension agree: what is there is documented, with the
# signature it has, and what is documented is there.
use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file("$FindBin::Bin/../../README.md");

my $node = PostgreSQL::Test::Cluster->new('documentation');
$node->init;
$node->start;
$node->safe_psql('postgres',
	'CREATE SCHEMA inv; CREATE EXTENSION inventory_reservation SCHEMA inv');

# Rows of a query, each an array.
sub rows
{
	my ($query) = @_;
	my $out = $node->safe_psql('postgres',
		"SET search_path = inv, pg_catalog; $query");
	return map { [ split /\|/, $_, -1 ] } split /\n/, $out;
}

my $members = q{
	SELECT d.objid, d.classid FROM pg_depend d JOIN pg_extension e
	    ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	 WHERE e.extname = 'inventory_reservation' AND d.deptype = 'e'};

# Functions: the signature, written as `name(argument type = default, ...) →
# type`, over as many lines as it takes.
my %documented;
while ($readme =~ /^(inv_\w+)\(([^()]*)\) (?:→ (\S+(?: inv_\w+)?)|(procedure))$/mg)
{
	my ($name, $arguments, $result) = ($1, $2, $3 // $4);
	$arguments =~ s/\s+/ /g;
	is($documented{$name}, undef, "$name is documented once");
	$documented{$name} = "($arguments) $result";
}

my %functions;
foreach my $row (
	rows(qq{
	SELECT proname, pg_get_function_arguments(p.oid),
	       CASE WHEN prokind = 'p' THEN 'procedure'
	            ELSE pg_get_function_result(p.oid) END
	  FROM pg_proc p JOIN ($members) m
	    ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid}))
{
	my ($name, $arguments, $result) = @$row;

	$arguments =~ s/ DEFAULT NULL::[a-z ]+(\[\])?/ = null/g;
	$arguments =~ s/ DEFAULT ('\w+')::text/ = $1/g;
	$arguments =~ s/ DEFAULT / = /g;
	$arguments =~ s/timestamp with time zone/timestamptz/g;
	$arguments =~ s/(, )?\bTABLE\(.*//;
	$result =~ s/^TABLE\(.*/table/;
	$result =~ s/^SETOF /setof /;
	$result =~ s/timestamp with time zone/timestamptz/;
	$functions{$name} = "($arguments) $result";
}
cmp_ok(scalar(keys %functions), '>', 30, 'the extension has functions');
is($documented{$_}, $functions{$_}, "signature of $_")
  foreach sort keys %functions;
ok(exists $functions{$_}, "$_, which is documented, exists")
  foreach sort keys %documented;

# Views and row types: their columns, all named in one row of a table.
foreach my $row (
	rows(qq{
	SELECT c.relname, c.relkind,
	       string_agg(a.attname || ' ' || CASE format_type(a.atttypid, NULL)
	                      WHEN 'timestamp with time zone' THEN 'timestamptz'
	                      ELSE format_type(a.atttypid, NULL) END,
	                  ',' ORDER BY a.attnum)
	  FROM pg_class c
	  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
	 WHERE (c.relkind IN ('v', 'c') OR c.relname = 'inv_order')
	   AND EXISTS (SELECT FROM ($members) m
	                WHERE (m.classid = 'pg_class'::regclass AND m.objid = c.oid)
	                   OR (m.classid = 'pg_type'::regclass AND m.objid = c.reltype))
	 GROUP BY c.relname, c.relkind}))
{
	my ($name, $kind, $columns) = @$row;
	my ($text) = $readme =~ /^\| `$name` \| (.*) \|$/m;

	ok(defined $text, "$name is documented") or next;
	my @wanted = split /,/, $columns;
	s/ .*// foreach grep { $kind eq 'v' } @wanted;
	# What one row type has in common with another is told once.
	if ($text =~ /^as `(inv_\w+)`/)
	{
		my ($other) = $readme =~ /^\| `$1` \| (.*) \|$/m;
		$text = "$other $text";
	}
	# Columns in backticks; so are examples of JSON, which are not columns.
	my @found = grep { /^[a-z_]+( [a-z]+)?$/ && !/^inv_/ } $text =~ /`([^`]*)`/g;
	is_deeply(\@found, \@wanted, "columns of $name");
}

# Settings, each under a heading of its own.
my %settings = map { $_->[0] => 1 } rows(q{
	LOAD 'inventory_reservation';
	SELECT name FROM pg_settings WHERE name LIKE 'inventory\_reservation.%'});
cmp_ok(scalar(keys %settings), '>', 0, 'the extension has settings');
like($readme, qr/^### \Q$_\E$/m, "$_ has a heading") foreach sort keys %settings;
my %named = map { $_ => 1 } $readme =~ /\binventory_reservation\.([a-z_]+)\b/g;
foreach my $name (sort keys %named)
{
	ok($settings{"inventory_reservation.$name"}, "setting $name exists");
}

# The tests that docs/guarantees.md names are there.
my $guarantees = slurp_file("$FindBin::Bin/../../docs/guarantees.md");
my @tests = $guarantees =~ /`(\d{3}_\w+|\w+\.(?:spec|sql))`/g;
cmp_ok(scalar(@tests), '>', 30, 'guarantees name tests');
foreach my $test (do { my %seen; grep { !$seen{$_}++ } sort @tests })
{
	my $file =
	    $test =~ /\.spec$/ ? "test/isolation/specs/$test"
	  : $test =~ /\.sql$/ ? "sql/$test"
	  : "test/t/$test.pl";
	ok(-e "$FindBin::Bin/../../$file", "$file, which guarantees something, exists");
}

# Whatever looks like a name of ours is one.
my %names = map { $_->[0] => 1 } rows(qq{
	SELECT proname FROM pg_proc p JOIN ($members) m
	    ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	UNION SELECT relname FROM pg_class c WHERE relnamespace = 'inv'::regnamespace});
foreach my $file (qw(README.md docs/migrating.md examples/clients/README.md))
{
	%named = map { $_ => 1 } slurp_file("$FindBin::Bin/../../$file") =~ /\b(inv_[a-z_]+)/g;
	cmp_ok(scalar(keys %named), '>', 0, "$file names what is there");
	ok($names{$_}, "$_, of $file, exists") foreach sort keys %named;
}

# So does every file that a document leads to, and every heading.
foreach my $file (qw(README.md docs/migrating.md examples/clients/README.md))
{
	my $text = slurp_file("$FindBin::Bin/../../$file");
	(my $dir = "$FindBin::Bin/../../$file") =~ s{[^/]*$}{};
	foreach my $link ($text =~ /\]\(([^():\s]+)\)/g)
	{
		my ($path, $heading) = split /#/, $link;
		my $target = $path ? "$dir$path" : "$FindBin::Bin/../../$file";
		ok(-e $target, "$file leads to $link") or next;
		next if !defined $heading;
		my %headings = map { lc(s/[^\w\s-]//gr =~ s/\s/-/gr) => 1 }
		  slurp_file($target) =~ /^#+ (.*)$/mg;
		ok($headings{$heading}, "$file leads to a heading: $link");
	}
}

$node->stop;
done_testing();
