# Buyers who outlive their server: each is a process with a connection of its
# own that works through calls with keys, one after the other, and notes in a
# file outside of any server what it asked for and what it was told.
#
# A call whose answer got lost is in doubt.  The buyer does what README.md
# tells him to: he connects again, to whatever server is the primary by then,
# and repeats the call with the same key, until there is a definite answer.
# So when buyers have finished, nothing is in doubt any more, and their notes
# say exactly what must be in the tables; see BuyersBooks.pm.
#
# What a call is, and of what, is drawn by a generator with a fixed seed; or it
# is read from notes made earlier ("repeat"), for those who ask again, with the
# same keys, for all that they have ever been told.
#
# A note is a line of the file, of fields separated by tabs:
#
#	time  event  number  what  key  hold  sale  replayed  lines
#
# The event is "try" before each attempt, then one of "answer", "refused" (the
# SQLSTATE stands in place of the hold), "lost" (no answer), "again" (asked to
# repeat) or "wrong" (an error that nobody should get).  "pause" tells that the
# buyer rests.  Lines are "SKU:units", separated by spaces.
package Buyers;

use strict;
use warnings;

use DBI;
use Exporter 'import';
use POSIX ();
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(read_notes);

my @plentiful = map { "P$_" } 0 .. 5;
my @rare = map { "R$_" } 0 .. 3;

# What buyers need on a server: stock of which some is always about to be sold
# out, some in stripes, and a table of the shop's own.
sub prepare
{
	my ($node) = @_;

	InventoryTest::add_stock($node, (map { $_ => 1_000_000 } @plentiful),
		(map { $_ => 40 } @rare));
	$node->safe_psql('postgres', q{
		SELECT inv_set_stripes('P0', 4), inv_set_stripes('P1', 4);
		SELECT inv_set_stripes('R0', 2);
		CREATE TABLE shipment (key text PRIMARY KEY, order_id uuid NOT NULL)});
	return;
}

# Options: clients, how many; seed; repeat => other Buyers, whose calls are
# made again.
sub new
{
	my ($class, %option) = @_;
	my $self = bless {
		clients => $option{repeat} ? $option{repeat}{clients} : 16,
		seed => 1,
		%option,
		dir => PostgreSQL::Test::Utils::tempdir,
		pids => []
	}, $class;
	return $self;
}

# Name the server that is the primary from now on.
sub point_to
{
	my ($self, $node) = @_;
	my $file = "$self->{dir}/primary";

	append_to_file("$file.new",
		sprintf 'dbi:Pg:host=%s;port=%s;dbname=postgres',
		$node->host, $node->port);
	rename "$file.new", $file or die "$file: $!";
	return;
}

sub start
{
	my ($self) = @_;

	$self->{parent} = $$;
	foreach my $client (1 .. $self->{clients})
	{
		my $pid = fork;
		die "fork: $!" if !defined $pid;
		if ($pid == 0)
		{
			# Neither the test's output nor its END blocks are this process's.
			eval { work($self, $client); 1 } or do
			{
				my $error = $@;
				eval { note_down($self, 'wrong', {}, $error =~ s/\s+/ /gr) };
			};
			POSIX::_exit(0);
		}
		push @{ $self->{pids} }, $pid;
	}
	return;
}

sub notes_of
{
	my ($self, $client) = @_;
	return "$self->{dir}/$client.notes";
}

# How often an event was noted by each client.
sub count_events
{
	my ($self, $event) = @_;

	return map {
		my $file = notes_of($self, $_);
		my $text = -e $file ? slurp_file($file) : '';
		scalar(() = $text =~ /^[^\t\n]+\t\Q$event\E\t/mg)
	} 1 .. $self->{clients};
}

# Poll; false if it takes too long, or somebody has given up.
sub poll
{
	my ($self, $condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		return 0 if time > $deadline || grep { $_ > 0 } count_events($self, 'wrong');
		sleep 0.1;
	}
	return 1;
}

# Wait until each client has got so many more answers.
sub wait_for_answers
{
	my ($self, $more) = @_;
	my @before = count_events($self, 'answer');

	return poll(
		$self,
		sub {
			my @now = count_events($self, 'answer');
			return !grep { $now[$_] < $before[$_] + $more } 0 .. $#now;
		});
}

# Have everybody finish his call and rest; resume() ends that.
sub pause
{
	my ($self) = @_;
	my @before = count_events($self, 'pause');

	append_to_file("$self->{dir}/pause", '');
	return poll(
		$self,
		sub {
			my @now = count_events($self, 'pause');
			return !grep { $now[$_] == $before[$_] } 0 .. $#now;
		});
}

sub resume
{
	my ($self) = @_;
	unlink "$self->{dir}/pause";
	return;
}

# From now on buyers take their time between two calls: a test that waits for
# something else wants clients more than it wants calls.
sub slow_down
{
	my ($self) = @_;
	append_to_file("$self->{dir}/slow", '');
	return;
}

# Have everybody get a definite answer to his last call, and go.  Those who
# repeat are waited for.  False if somebody did not get one.
sub finish
{
	my ($self) = @_;
	my %left = map { $_ => 1 } @{ $self->{pids} };

	append_to_file("$self->{dir}/stop", '') if !$self->{repeat};
	resume($self);
	my $done = poll(
		$self,
		sub {
			delete @left{ grep { waitpid($_, POSIX::WNOHANG()) != 0 } keys %left };
			return !%left;
		});
	kill 'KILL', keys %left;
	waitpid $_, 0 foreach keys %left;
	$self->{pids} = [];
	return $done;
}

# Notes as hashes, in order.
sub read_notes
{
	my ($file) = @_;
	my @fields = qw(time event number what key hold sale replayed lines);

	return map {
		my %note;
		@note{@fields} = split /\t/, $_, -1;
		\%note
	} -e $file ? split /\n/, slurp_file($file) : ();
}

#
# In the buyer's process
#

sub note_down
{
	my ($self, $event, $call, $hold, $sale, $replayed, $key, $lines) = @_;
	my $text = join("\t",
		time, $event, map { defined $_ ? $_ : '' } $call->{number},
		$call->{what}, $key // $call->{key}, $hold, $sale, $replayed,
		$lines // $call->{lines}) . "\n";

	# In one piece, and past any buffer: the parent reads along.
	syswrite($self->{notes}, $text) == length $text or die "notes: $!";
	return;
}

sub connect_again
{
	my ($self) = @_;

	# which fails where the connection is broken
	eval { $self->{dbh}->disconnect } if $self->{dbh};
	delete $self->{dbh};
	for (;;)
	{
		die "the test has gone\n" if getppid() != $self->{parent};
		$self->{dbh} = eval {
			DBI->connect(
				slurp_file("$self->{dir}/primary")
				  . ";application_name=buyer$self->{client}",
				undef, undef,
				{ AutoCommit => 1, RaiseError => 1, PrintError => 0 });
		};
		return if $self->{dbh};
		sleep 0.05;
	}
}

sub pick
{
	return $_[ int rand @_ ];
}

# A new call, drawn by lot.
sub draw
{
	my ($self, $client, $number) = @_;
	my $holds = $self->{holds};
	my $key = "$self->{seed}-$client-$number";
	my $sku = rand() < 0.6 ? pick(@plentiful) : pick(@rare);
	my $units = 1 + int rand 3;
	my $dice = rand 100;
	my %call = (number => $number, key => $key, lines => "$sku:$units");

	if ($dice < 42 && %$holds)
	{
		# with a hold of one's own
		my $hold = pick(sort keys %$holds);
		my %lines = map { split /:/ } split / /, $holds->{$hold};
		my @large = grep { $lines{$_} > 1 } sort keys %lines;

		$call{hold} = $hold;
		$call{lines} = $holds->{$hold};
		$call{what} = $dice < 18 ? 'confirm' : 'cancel';
		if ($dice >= 32 && @large)
		{
			$call{what} = 'release';
			$call{lines} = $large[0] . ':1';
		}
	}
	elsif ($dice < 54)
	{
		$call{what} = 'reserve';
	}
	elsif ($dice < 64)
	{
		$call{what} = 'try_reserve';
	}
	elsif ($dice < 76)
	{
		$call{what} = 'reserve_cart';
		$call{lines} = pick(@plentiful) . ":$units " . pick(@rare) . ':1';
	}
	elsif ($dice < 80)
	{
		$call{what} = 'reserve_batch';
		$call{lines} = join ' ', map { pick(@plentiful, @rare) . ':1' } 1 .. 3;
	}
	elsif ($dice < 92)
	{
		$call{what} = 'checkout';
	}
	elsif ($dice < 96)
	{
		$call{what} = 'receive';
		$call{lines} = pick(@rare) . ":$units";
	}
	else
	{
		$call{what} = 'brief';
	}
	return \%call;
}

my $columns = 'reservation_id, replayed';
my %statement = (
	reserve => "SELECT $columns FROM inv_reserve(?, ?, key => ?, ttl => '1 hour')",
	try_reserve =>
	  "SELECT $columns FROM inv_try_reserve(?, ?, key => ?, ttl => '1 hour')",
	# one that dies while its buyer looks elsewhere
	brief =>
	  "SELECT $columns FROM inv_reserve(?, ?, key => ?, ttl => '200 milliseconds')",
	reserve_cart =>
	  "SELECT $columns FROM inv_reserve_cart(?, ?, key => ?, ttl => '1 hour')",
	reserve_batch => 'SELECT reservation_id, replayed, error'
	  . " FROM inv_reserve_batch(?, ?, keys => ?, ttl => '1 hour')",
	confirm => 'SELECT order_id, replayed FROM inv_confirm(?, key => ?)',
	cancel => 'SELECT reservation_id, replayed FROM inv_cancel(?, key => ?)',
	release =>
	  'SELECT reservation_id, replayed FROM inv_release(?, ?, ?, key => ?)',
	receive => 'SELECT sku, replayed FROM inv_receive(?, ?, key => ?)',
	ship => 'INSERT INTO shipment VALUES (?, ?) ON CONFLICT DO NOTHING');

# Make a call and return what is to be noted, a list of arguments for
# note_down() for each thing that was asked for.  Dies when there is no answer.
sub make_call
{
	my ($self, $call) = @_;
	my ($dbh, $holds) = @{$self}{qw(dbh holds)};
	my ($what, $key, $hold) = @{$call}{qw(what key hold)};
	my @lines = map { [ split /:/ ] } split / /, $call->{lines};
	my ($sku, $units) = @{ $lines[0] };
	my $ask = sub { return $dbh->selectrow_array($statement{ $_[0] }, undef, @_[ 1 .. $#_ ]) };
	my ($id, $replayed, $sale);

	if ($what eq 'confirm')
	{
		($sale, $replayed) = $ask->($what, $hold, $key);
		delete $holds->{$hold};
		return [ 'answer', $call, $hold, $sale, $replayed ];
	}
	if ($what eq 'cancel')
	{
		($id, $replayed) = $ask->($what, $hold, $key);
		delete $holds->{$hold};
		return [ 'answer', $call, $hold, undef, $replayed ];
	}
	if ($what eq 'release')
	{
		($id, $replayed) = $ask->($what, $hold, $sku, $units, $key);
		$holds->{$hold} =~ s/\b\Q$sku\E:(\d+)/"$sku:" . ($1 - $units)/e
		  if $holds->{$hold};
		return [ 'answer', $call, $hold, undef, $replayed ];
	}
	if ($what eq 'receive')
	{
		($id, $replayed) = $ask->($what, $sku, $units, $key);
		return [ 'answer', $call, undef, undef, $replayed ];
	}
	if ($what eq 'checkout')
	{
		# hold, sell and the shop's own row, all or nothing
		$dbh->begin_work;
		($id) = $ask->('reserve', $sku, $units, $key);
		($sale, $replayed) = $ask->('confirm', $id, $key);
		$dbh->do($statement{ship}, undef, $key, $sale);
		$dbh->commit;
		return [ 'answer', $call, $id, $sale, $replayed ];
	}
	if ($what eq 'reserve_batch')
	{
		my @keys = map { "$key.$_" } 1 .. @lines;
		my $rows = $dbh->selectall_arrayref(
			$statement{$what}, undef,
			[ map { $_->[0] } @lines ],
			[ map { $_->[1] } @lines ], \@keys);
		return map {
			my ($id, $replayed, $error) = @{ $rows->[$_] };
			my $line = join ':', @{ $lines[$_] };
			$holds->{$id} = $line if $id;
			$id
			  ? [ 'answer', $call, $id, undef, $replayed, $keys[$_], $line ]
			  : [ 'refused', $call, $error, undef, undef, $keys[$_], $line ]
		} 0 .. $#lines;
	}

	($id, $replayed) =
	  $what eq 'reserve_cart'
	  ? $ask->(
		$what, [ map { $_->[0] } @lines ], [ map { $_->[1] } @lines ], $key)
	  : $ask->($what, $sku, $units, $key);
	return [ 'refused', $call, 'IV001' ] if !defined $id;
	$holds->{$id} = $call->{lines} if $what ne 'brief';
	return [ 'answer', $call, $id, undef, $replayed ];
}

# Make a call until it has a definite answer.
sub insist
{
	my ($self, $call) = @_;

	for (;;)
	{
		note_down($self, 'try', $call);
		my @notes = eval { make_call($self, $call) };
		my $error = $@;
		my $dbh = $self->{dbh};
		if ($error eq '')
		{
			note_down($self, @$_) foreach @notes;
			return @notes;
		}
		my $state = $dbh->state;
		if ($state =~ /^IV/)
		{
			note_down($self, 'refused', $call, $state);
			# the server may have gone by now, and the transaction with it
			eval { $dbh->rollback; 1 } or connect_again($self)
			  if !$dbh->{AutoCommit};
			return;
		}
		# a standby that is about to be promoted, or a lost race
		if ($state =~ /^(?:25006|40001|40P01)$/)
		{
			note_down($self, 'again', $call, $state);
		}
		elsif ($state =~ /^57P0/ || !$dbh->ping)
		{
			note_down($self, 'lost', $call, $state);
		}
		else
		{
			die "$state $error";
		}
		connect_again($self);
	}
}

sub work
{
	my ($self, $client) = @_;

	$self->{client} = $client;
	$self->{holds} = {};
	open $self->{notes}, '>>', notes_of($self, $client) or die "notes: $!";
	srand($self->{seed} * 1000 + $client);
	connect_again($self);
	if ($self->{repeat})
	{
		repeat($self, $client);
		return;
	}
	for (my $number = 1; !-e "$self->{dir}/stop"; $number++)
	{
		insist($self, draw($self, $client, $number));
		# Notes are to be read in reasonable time.
		sleep(-e "$self->{dir}/slow" ? 0.1 : 0.005);
		if (-e "$self->{dir}/pause")
		{
			note_down($self, 'pause', {});
			sleep 0.02 while -e "$self->{dir}/pause";
		}
	}
	return;
}

# All that somebody was told, asked for once more.  On a server that has lost
# some of it a hold may have another id now, and who is refused this time has
# no use for what he did with it.
sub repeat
{
	my ($self, $client) = @_;
	my (%now, %done);

	foreach my $note (read_notes(notes_of($self->{repeat}, $client)))
	{
		next if $note->{event} ne 'answer';
		my %call = map { $_ => $note->{$_} } qw(number what key lines);

		if ($note->{what} =~ /^(?:confirm|cancel|release)$/)
		{
			$call{hold} = $now{ $note->{hold} } or next;
		}
		# one request of a batch that is there goes like one alone
		$call{what} = 'reserve' if $note->{what} eq 'reserve_batch';
		my ($answer) = insist($self, \%call);
		$now{ $note->{hold} } = $answer->[2]
		  if $answer && $answer->[0] eq 'answer' && !$call{hold};
	}
	return;
}

1;
