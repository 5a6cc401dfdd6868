# Random calls: every function that the catalog knows of ours, each argument
# out of a pool for its type and name in which half is what one would pass and
# half is what one would not: nulls, nothing, too much, bounds and what is just
# beyond, NaN and infinity, arrays with holes, of two dimensions and of other
# lengths, JSON of any shape, a megabyte, quotes, other scripts.
#
# Three clients at a time, a buyer, an operator and the owner, in transactions
# of any shape and isolation.  Whatever they do, a call ends with an answer or
# with a SQLSTATE that the README names, the server lives, and the books are
# right.  030_bad_input.pl says which SQLSTATE, for inputs thought of by hand.
#
# make hostile CALLS=200000 SEED=7 is the long run.  Each client's calls follow
# from the seed; how they meet is the machine's.
use strict;
use warnings;

use HostileTest;
use InventoryTest;
use IPC::Run ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $calls = $ENV{HOSTILE_CALLS} || 3000;
my $seed = $ENV{HOSTILE_SEED} || 1;
my $node = hostile_shop();
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my @clients = ('smith_buyer', 'smith_operator', $superuser);

# The README's, PostgreSQL's for values that are none of their type (22...,
# 54001 of JSON too deep), and what the transactions below bring about.
my $allowed = qr/^(?:IV0(?:0[1-8]|1[0-2])|22...|25006|40001|40P01|42501|0A000|23505|55000
	|54001|25P02|3B001|2D000|57014|55P03|42704)$/x;

# What there is: name, whether a procedure, argument names and types.
my @routines = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q{
	SELECT proname, prokind = 'p',
		   (SELECT string_agg(proargnames[n + 1] || ' ' || format_type(proargtypes[n], NULL), ',' ORDER BY n)
			  FROM generate_series(0, pronargs - 1) AS n),
		   concat_ws(',', current_user, (SELECT string_agg(rolname, ',') FROM pg_roles
				WHERE rolname LIKE 'smith\_%' AND has_function_privilege(rolname, proc.oid, 'EXECUTE')))
	  FROM pg_depend AS depend JOIN pg_proc AS proc ON proc.oid = depend.objid
	 WHERE depend.classid = 'pg_proc'::regclass AND depend.deptype = 'e'
	   AND depend.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'inventory_reservation')
	   AND proc.prorettype <> 'trigger'::regtype
	 ORDER BY proname});
$_->[3] = { map { $_ => 1 } split /,/, $_->[3] } foreach @routines;
# one in two sells
push @routines, (grep { $_->[0] =~ /reserve|confirm|cancel|release|extend|return/ } @routines) x 3;
cmp_ok(scalar @routines, '>', 40, 'functions to call');

sub pick { return $_[ int rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub quoted { my ($text) = @_; $text =~ s/'/''/g; return "'$text'"; }

my @skus = ('A', 'A', 'B', 'STRIPED', 'STRIPED', 'HOT', 'HOT', 'ONE', 'NONE', 'FULL', 'USD', 'CLOSED', 'PAST');

# Texts that fit an argument of this name.
sub fitting_text
{
	my ($name) = @_;

	return quoted(pick(@skus)) if $name =~ /^skus?$/;
	return quoted(pick('PAST', 'NONE', 'N' . int rand 30)) if $name eq 'old';
	return quoted('N' . int rand 30) if $name eq 'new';
	return quoted('k' . int rand 60) if $name =~ /^keys?$/;
	return quoted(pick('ann', 'bob')) if $name =~ /^customers?$/;
	return quoted(pick('default', 'default', 'store', 'nowhere')) if $name =~ /location$|^code$/;
	return quoted(pick('EUR', 'EUR', 'USD')) if $name eq 'currency';
	return quoted(pick('pending', 'paid', 'failed', 'refunded')) if $name =~ /status$/;
	return quoted(pick('buyer', 'operator', 'auditor')) if $name eq 'profile';
	return pick("'1/" . int(rand 2000) . "/" . int(rand 5000) . "'", 'inv_newest_event()', "'0/0/0'") if $name eq 'after';
	return quoted('text');
}

# A cart, or any other shape, as JSON.
sub json
{
	my ($depth) = @_;
	my $what = int rand($depth > 3 ? 7 : 10);

	return pick('null', 'true', '0', '-1', '1.5', '1e400', '9007199254740993', '1e-400') if $what < 3;
	return '"' . pick(@skus, '', 'x' x 300, 'sku', '\\u00fc', '\\ud83d\\ude00') . '"' if $what < 5;
	return '{"sku": "' . pick(@skus) . '", "quantity": ' . pick(1, 2, 3, 0, -1, '"1"', 'null', 1.5, 1e30) . '}' if $what < 7;
	my @parts = map { json($depth + 1) } 0 .. int rand 4;
	return '[' . join(', ', @parts) . ']' if $what < 9;
	return '{' . join(', ', map { '"' . pick('sku', 'quantity', 'a', '') . '": ' . $_ } @parts) . '}';
}

sub array
{
	my ($element, $type) = @_;
	my $size = pick(0, 1, 2, 2, 3, 3, 5, 40);
	my @elements = map { $element->() } 1 .. $size;

	return "'{}'::$type\[]" if $size == 0;
	return 'ARRAY[' . join(', ', map { "ARRAY[$_]" } @elements) . "]::$type\[]" if chance(0.03);
	return "array_fill($elements[0]::$type, ARRAY[$size], ARRAY[" . pick(-5, 0, 7) . '])' if chance(0.03);
	return "array_fill($elements[0]::$type, '{1500}')" if chance(0.01);
	return 'ARRAY[' . join(', ', @elements) . "]::$type\[]";
}

# A value for an argument, as SQL.
sub value
{
	my ($name, $type) = @_;
	my $fits = chance(0.9);

	return "NULL::$type" if chance($fits ? 0.03 : 0.15);
	if ($type eq 'text')
	{
		return fitting_text($name) if $fits;
		return pick(
			q{''}, q{' '}, q{'it''s'}, q{'"'}, q{E'\\\\'}, q{'%s%n$1'}, q{'--'}, q{'{A}'}, q{'NULL'}, q{'a'},
			q{E'\n\t\x01'}, q{'ümlaut ''quoted'' "twice"'}, q{'日本語'}, q{'😀'}, q{E'A\u0301'}, q{E'\u202eA'},
			q{repeat('x', 255)}, q{repeat('x', 256)}, q{repeat('ü', 127)}, q{repeat('ü', 128)},
			q{repeat('x', 1048576)}, quoted(pick(@skus)), quoted('k' . int rand 60), q{'-infinity'}, q{'1/1/1'});
	}
	if ($type eq 'bigint')
	{
		return pick(1, 1, 2, 3, 5, 10) . '::bigint' if $fits;
		return pick(0, -1, '9007199254740992', '9007199254740993', '9223372036854775807', "'-9223372036854775808'",
			'2147483648', 100000, int rand 1000) . '::bigint';
	}
	if ($type eq 'integer')
	{
		return pick(1, 2, 3, 16, 100) if $fits;
		return pick(0, "'-1'::integer", 256, 257, 2147483647, "'-2147483648'::integer");
	}
	if ($type eq 'numeric')
	{
		return pick('1', '9.99', '0') . '::numeric' if $fits;
		return pick("'NaN'", "'Infinity'", "'-Infinity'", "'-0.01'", "'1e131071'", "'1e-16383'", '1e20') . '::numeric';
	}
	if ($type eq 'interval')
	{
		return pick("'1 millisecond'", "'1 second'", "'5 minutes'", "'1 hour'") . '::interval' if $fits;
		return pick("'0'", "'-1 second'", "'178000000 years'", "'-178000000 years'", "'1 month -31 days'", "'1 month -30 days'",
			"'1 day -24 hours'", "'2562047788:00:54.775807'", "'1 microsecond'", "'30 days'", "'infinity'") . '::interval';
	}
	if ($type eq 'timestamp with time zone')
	{
		return pick("'2090-01-01'", "'infinity'") . '::timestamptz' if $fits;
		return pick("'-infinity'", "'294276-12-31 23:59:59'", "'4713-01-01 BC'", 'clock_timestamp()', "'2020-01-01'") . '::timestamptz';
	}
	return pick('true', 'false', 'false') if $type eq 'boolean';
	if ($type eq 'jsonb')
	{
		return q{'[{"sku": "} . pick(@skus) . q{", "quantity": 1}, {"sku": "} . pick(@skus) . q{", "quantity": 2}]'::jsonb} if $fits;
		return pick(q{repeat('[', 20000)::jsonb}, q{to_jsonb(repeat('x', 1048576))},
			q{(SELECT jsonb_agg('{"sku": "A", "quantity": 1}'::jsonb) FROM generate_series(1, 1500))}) if chance(0.05);
		return quoted(json(0)) . '::jsonb';
	}
	if ($type eq 'uuid')
	{
		return $name eq 'order_id' ? 'smith.an_order(' . int(rand 6) . ')' : 'smith.a_hold(' . int(rand 8) . ')' if $fits;
		return pick('gen_random_uuid()', "'00000000-0000-0000-0000-000000000000'::uuid", "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid",
			'smith.an_order(0)', 'smith.a_hold(0)', "'no uuid'::uuid");
	}
	return array(sub { return value($name, 'text') }, 'text') if $type eq 'text[]';
	return array(sub { return value($name, 'bigint') }, 'bigint') if $type eq 'bigint[]';
	return pick("'smith_buyer'", "'smith_operator'", "'nobody'", "'public'", "'none'", q{'"'}) . '::name' if $type eq 'name';
	die "no values for $type: teach this test about it";
}

# Arrays that go together mostly have one length.
sub one_length
{
	my (%arguments) = @_;
	my $size = pick(1, 2, 3, 8);

	foreach my $name (keys %arguments)
	{
		my $type = $name eq 'quantities' ? 'bigint' : 'text';
		$arguments{$name} = 'ARRAY[' . join(', ', map { value($name, $type) } 1 .. $size) . "]::$type\[]"
		  if $name =~ /^(skus|quantities|keys|customers)$/;
	}
	return %arguments;
}

sub call
{
	my ($client) = @_;
	my ($name, $procedure, $signature, $callers) = @{ pick(@routines) };

	# what it may not call anyway is in 031_privileges.pl
	return call($client) if !$callers->{$client} && chance(0.95);
	my %type = map { /^(.*?) (.*)$/ } split /,/, $signature || '';
	my %arguments;

	return "CALL inv.$name();" if $procedure eq 't';
	# what has no default, and of the rest none, some or all
	my $rest = pick(0, 0.2, 0.4, 1);
	foreach my $argument (keys %type)
	{
		$arguments{$argument} = value($argument, $type{$argument})
		  if chance($rest) || $argument =~ /^(sku|skus|quantit(y|ies)|lines|reservation_id|order_id|status|old|new|code|role|profile|delta|on_hand|stripes|id|from_location|to_location)$/
		  || $name eq 'inv_waitlist_status';
	}
	# mostly in the way
	delete @arguments{ grep { chance(0.9) } qw(retake) };
	%arguments = one_length(%arguments) if chance(0.8);
	my $call = "inv.$name(" . join(', ', map { qq{"$_" => $arguments{$_}} } sort keys %arguments) . ')';
	return pick("SELECT * FROM $call;", "SELECT $call;", "SELECT count(*) FROM (SELECT $call FROM generate_series(1, 2)) AS twice;",
		"DO \$do\$BEGIN PERFORM * FROM $call; EXCEPTION WHEN SQLSTATE 'IV001' OR data_exception THEN NULL; END\$do\$;");
}

# Calls of a client, in transactions.
sub script
{
	my ($client, $count) = @_;
	my @lines;

	while ($count > 0)
	{
		my $shape = rand;
		my $length = $shape < 0.8 ? 1 : 1 + int rand 4;
		my @body = map { call($client) } 1 .. $length;

		$count -= $length;
		if ($shape >= 0.8)
		{
			splice @body, 1, 0, 'SAVEPOINT here;' if $length > 1;
			push @body, 'ROLLBACK TO here;', call($client) if $length > 1 && chance(0.5);
			unshift @body, 'BEGIN ' . pick('', '', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE', 'READ ONLY') . ';';
			push @body, pick('COMMIT;', 'COMMIT;', 'ROLLBACK;');
			# a savepoint before each, or the first error spoils the rest
			unshift @body, '\\set ON_ERROR_ROLLBACK ' . pick('on', 'on', 'off');
		}
		@body = ('SET statement_timeout = ' . pick(2, 20) . ';', @body, 'SET statement_timeout = 5000;')
		  if chance(0.02);
		push @lines, @body;
	}
	return join "\n", @lines, '';
}

my $holds = holds_made($node);
my %ended;
my @trouble;
my $made = 0;
my $scripts = PostgreSQL::Test::Utils::tempdir;
while ($made < $calls && !@trouble)
{
	my $count = max(1, min(5000, int($calls / @clients)));
	my @running;
	foreach my $client (@clients)
	{
		srand $seed;
		my $file = "$scripts/$seed.sql";
		append_to_file($file, script($client, $count));
		local $ENV{PGOPTIONS} = '-c statement_timeout=5s -c lock_timeout=5s -c client_min_messages=error';
		push @running, IPC::Run::start(
			[
				'psql', '--no-psqlrc', '--quiet', '--output=/dev/null', '--file', $file,
				$node->connstr('postgres') . " user=$client"
			],
			'<', \'', '2>', '/dev/null',
			IPC::Run::timeout(20 * $PostgreSQL::Test::Utils::timeout_default));
		$seed++;
		$made += $count;
	}
	foreach my $client (@running)
	{
		$client->finish;
		push @trouble, 'a client has lost its server' if ($client->results)[0] == 2;
	}
	push @trouble, trouble_in_log($node, allowed => $allowed, all_internal => 1, count => \%ended);
	push @trouble, $node->safe_psql('postgres', 'SELECT * FROM inv_check() LIMIT 5');
	@trouble = grep { $_ ne '' } @trouble;
	push @trouble, 'seeds ' . ($seed - @clients) . ' to ' . ($seed - 1) . ", $count calls each" if @trouble;
	# the names, prices and stock to begin with
	$node->safe_psql('postgres', q{
		SELECT inv_rename_item(sku, 'OLD' || item_id || '-' || clock_timestamp()) FROM inv_item;
		SELECT inv_add_item(sku, unit_price => 10, currency => 'EUR')
		  FROM unnest('{A,B,STRIPED,HOT,ONE,NONE,FULL,USD,CLOSED,PAST}'::text[]) AS sku;
		SELECT inv_set_item('CLOSED', selling => false), inv_set_item('PAST', listed_until => '2020-01-01'),
			   inv_set_item('USD', currency => 'USD');
		SELECT count(*) FROM inv_load_stock('{A,B,STRIPED,HOT,ONE,FULL,USD,CLOSED,PAST}',
						'{1000,1000,1000,30,1,9007199254740992,100,5,5}');
		SELECT inv_set_stripes('STRIPED', 8), inv_set_stripes('HOT', 2)});
	note "$made calls, next seed $seed";
}
is(join("\n", @trouble), '', 'each call ends with an answer or an error that is documented, and the books are right');

cmp_ok(holds_made($node) - $holds, '>', $calls / 100, 'some have got something');
note "$made calls; those that returned: ", join ', ', split /\n/, $node->safe_psql('postgres', q{
	SELECT funcname || ' ' || sum(calls) FROM pg_stat_user_functions
	 WHERE schemaname = 'inv' GROUP BY funcname ORDER BY funcname});
note 'errors: ', join ', ', map { "$_ $ended{$_}" } sort keys %ended;
books_are_right($node);
$node->stop;
done_testing();
