# Random SQL, made by sqlsmith out of whatever the catalog offers: our
# functions in joins, aggregates, subqueries, in WHERE of an UPDATE and in
# RETURNING, with arguments that nobody would think of.
#
# It hunts for a server that crashes, an assertion, an internal error (XX000)
# raised by the library, references that are not given back (a WARNING of
# PostgreSQL's at the end of the transaction), and, above all, for books that
# are wrong afterwards.
#
# Those who may not write to the tables, a buyer and an operator, send their
# queries to be committed, both at the same time.  A superuser's are rolled
# back: they delete rows of the shop's tables too.  For how the generator is
# brought to call us at all, see test/hostile/.
#
# make hostile QUERIES=500000 SEED=7 is the long run.
use strict;
use warnings;

use File::Basename;
use HostileTest;
use InventoryTest;
use IPC::Run ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;

my $queries = $ENV{HOSTILE_QUERIES} || 1600;
my $seed = $ENV{HOSTILE_SEED} || 1;
my $dir = dirname(__FILE__) . '/../hostile';

plan skip_all => 'sqlsmith is not installed'
  if !-x '/usr/bin/sqlsmith' && !$ENV{HOSTILE_QUERIES};

my $node = hostile_shop();

# The same shop on a server of its own, with a catalog that is fit to read and
# nothing else.
my $model = inventory_node('model',
	init => { extra => [ '--encoding=UTF8', '--locale=C' ] });
$model->safe_psql('postgres',
	slurp_file("$dir/shop.sql") . slurp_file("$dir/model.sql"));
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');

# Who, out of which functions, and whether what he does lasts.
my @rounds = (
	[ [ 'smith_buyer', 'focused', 1 ], [ 'smith_operator', 'focused', 1 ] ],
	[ [ $superuser, 'focused', 0 ], [ $superuser, 'whole', 0 ] ]);

# A generator, and a client that sends what it makes.
sub smith
{
	my ($role, $what, $lasts, $count, $number, $errors) = @_;
	my ($from, $to) =
	  map { $_->connstr('postgres') . " user=$role" } $model, $node;
	my $after = $lasts ? '' : 'ROLLBACK; BEGIN;';

	local $ENV{PGOPTIONS} =
	  '-c statement_timeout=1s -c jit=off -c client_min_messages=error';
	return IPC::Run::start(
		[
			'sqlsmith', '--dry-run',
			"--seed=$number", "--max-queries=$count",
			"--target=$from options='-c search_path=$what,pg_catalog'",
			$what eq 'focused' ? '--exclude-catalog' : ()
		],
		'<', \'', '2>', $errors, '|',
		[ 'perl', '-pe', "s/;\$/; $after/" ], '|',
		[ 'psql', '--no-psqlrc', '--quiet', '--output=/dev/null', $to ],
		'2>', '/dev/null',
		IPC::Run::timeout(20 * $PostgreSQL::Test::Utils::timeout_default));
}

my %ended;
my @trouble;
my $sent = 0;
my $holds = holds_made($node);
while ($sent < $queries && !@trouble)
{
	foreach my $round (@rounds)
	{
		my $count = max(1, min(5000, int($queries / 4)));
		my $first = $seed;
		my @errors = ('') x @$round;
		my @smiths =
		  map { smith(@{ $round->[$_] }, $count, $seed++, \$errors[$_]) } 0 .. $#errors;
		foreach my $smith (@smiths)
		{
			$smith->finish;
			# of the generator, of the filter, and of the client, which is 2
			# when the server has gone
			my @status = $smith->results;
			push @trouble, "exit statuses @status; @errors" if grep { $_ } @status;
		}
		$sent += $count * @$round;
		push @trouble, trouble_in_log($node,
			count => \%ended,
			all_internal => !grep { $_->[1] eq 'whole' } @$round);
		push @trouble, "seeds from $first on, $count queries each" if @trouble;
	}
	push @trouble, $node->safe_psql('postgres', 'SELECT * FROM inv_check() LIMIT 5');
	@trouble = grep { $_ ne '' } @trouble;
	# what was bought is sold again
	$node->safe_psql('postgres', q{
		SELECT inv_set_stock(sku, 100000, force => true) FROM inv_item
		 WHERE sku IN ('A', 'B', 'STRIPED', 'HOT', 'ONE')});
	note "$sent queries, next seed $seed";
}

is(join("\n", @trouble), '',
	'no crash, no assertion, no leak, no internal error of the library, and the books are right');
cmp_ok(holds_made($node) - $holds, '>', 0, 'some have got something');
note "$sent queries; calls that returned: ", join ', ', split /\n/,
  $node->safe_psql('postgres', q{
	SELECT funcname || ' ' || sum(calls) FROM pg_stat_user_functions
	 WHERE schemaname = 'inv' GROUP BY funcname ORDER BY funcname});
note 'errors: ', join ', ', map { "$_ $ended{$_}" } sort keys %ended;
books_are_right($node);

$_->stop foreach $model, $node;
done_testing();
