# A client: makes the calls that its script asks for, in transactions of all
# shapes, and writes down what came of them.
#
# What must never happen here is a guess.  A call whose answer got lost is
# repeated with the same key until there is an answer; a transaction whose COMMIT
# got lost has left a mark in sim.mark, or none.  So what is written down is
# always known: committed, or not.
package Simulator::Client;

use strict;
use warnings;

use parent qw(Simulator::Deeds Simulator::Races);

use Simulator::Books;
use Simulator::Dice;
use Simulator::Log;
use Simulator::Session;
use Time::HiRes qw(sleep time);

# Options: number, profile, dir, database, until.
sub new
{
	my ($class, %option) = @_;
	my $profile = $option{profile};
	my $self = bless {
		%option,
		name   => "c$option{number}",
		script => Simulator::Dice->new(
			$profile->{seed}, $profile->{episode},
			'client', $option{number}),
		log    => Simulator::Log->new("$option{dir}/client.$option{number}"),
		count  => 0,
		own    => [],    # holds of shared SKUs: rid, lines, expires, customer
		met    => [],    # the same, made by others
		fresh  => [],    # made in the transaction that is under way
		orders => [],    # of shared SKUs: oid, rid, lines
		fresh_orders => [],
		keys         => [],
		changes      => [],    # of stock, with keys: to be asked for again
		pending      => [],    # records of the transaction that is under way
		isolation    => 'READ COMMITTED',
		resolved     => 0
	}, $class;

	$self->{session} = Simulator::Session->new(
		database => $option{database},
		name     => "sim $self->{name}")->connect;
	$self->{books} = Simulator::Books->new(swept => $profile->{sweeps});
	$self->open_books;
	open $self->{handed}, '>>', "$option{dir}/handed" or die "handed: $!\n";
	$self->{handed}->autoflush(1);
	open $self->{handed_by_others}, '<', "$option{dir}/handed"
	  or die "handed: $!\n";
	return $self;
}

# Another connection of the same client.
sub second_session
{
	my ($self) = @_;

	return $self->{other_session} ||= Simulator::Session->new(
		database => $self->{database},
		name     => "sim $self->{name} second")->connect;
}

# What there was of the client's own SKUs when the episode began.
sub open_books
{
	my ($self) = @_;

	foreach my $stock (@{ $self->{profile}{private} })
	{
		my $sku = "$self->{name}-$stock->{name}";
		my $version = $self->{session}->value(
			'SELECT max(version) FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = ?',
			$sku);
		$self->{books}{sku}{$sku} = {
			on_hand => $stock->{units},
			safety  => 0,
			price   => 3,
			selling => 1,
			version => $version,
			striped => $stock->{stripes} > 1
			  || $self->{profile}{auto_stripes} > 1
		};
	}
	return;
}

# Something is wrong.  What concerns it: sku, rid, customer, key.
sub violation
{
	my ($self, $text, %about) = @_;

	$self->{log}->add({ %$_, settled => time, fate => '?' })
	  foreach @{ $self->{pending} };
	$self->{log}
	  ->add({ %{ $self->{request}{record} }, settled => time, fate => '?' })
	  if $self->{request};
	$self->{log}->flush;
	open my $file, '>>', "$self->{dir}/violations" or die "violations: $!\n";
	print $file join("\t",
		"client $self->{number}",
		time,
		$text,
		map    { "$_=$about{$_}" }
		  grep { defined $about{$_} && $about{$_} ne '' } sort keys %about),
	  "\n";
	close $file;
	exit 1;
}

sub run
{
	my ($self) = @_;

	while (time < $self->{until} && !-e "$self->{dir}/stop")
	{
		$self->pause         if -e "$self->{dir}/pause";
		$self->hear_of_holds if $self->{count} % 16 == 0;
		$self->one_intent;
	}
	$self->close_books;
	$self->{log}->flush;
	return;
}

# Between two transactions, as long as somebody looks at the books.
sub pause
{
	my ($self) = @_;

	$self->{log}->flush;
	open my $file, '>', "$self->{dir}/paused.$self->{number}"
	  or die "paused: $!\n";
	close $file;
	sleep 0.01 while -e "$self->{dir}/pause";
	unlink "$self->{dir}/paused.$self->{number}";
	return;
}

# Every intention takes the same number of dice from the script, whatever
# becomes of it, so the script is the seed's alone.
sub one_intent
{
	my ($self) = @_;
	my @dice = map { $self->{script}->roll } 1 .. 6;
	my $profile = $self->{profile};
	my $shape =
		$dice[0] < 0.80 ? 'alone'
	  : $dice[0] < 0.85 ? 'timeout'
	  : $dice[0] < 0.88 ? 'prepare'
	  : $dice[0] < 0.91 ? 'REPEATABLE READ'
	  : $dice[0] < 0.93 ? 'SERIALIZABLE'
	  :                   'block';
	my $calls = $profile->{several} ? 1 + int($dice[1] * 4) : 1;
	my @intents = map {
		[ map { $self->{script}->roll } 1 .. 10 ]
	} 1 .. 4;

	if    ($dice[0] > 0.993) { $self->race(@dice[ 1 .. 3 ]); }
	elsif ($dice[0] > 0.989) { $self->keep_busy(@dice[ 1 .. 3 ]); }
	elsif ($dice[0] > 0.983) { $self->restripe(@dice[ 1 .. 3 ]); }
	elsif ($dice[0] > 0.977) { $self->twins(@dice[ 1 .. 3 ]); }
	elsif ($dice[0] > 0.975) { $self->move_items(@dice[ 1 .. 3 ]); }
	elsif ($shape eq 'alone')
	{
		my $request = $self->request($intents[0]);
		$self->alone($request) if $request;
	}
	else
	{
		$self->transaction($shape, \@dice, @intents[ 0 .. $calls - 1 ]);
	}
	return;
}

# One call, one transaction.
sub alone
{
	my ($self, $request) = @_;
	my ($answer, $first);

	$self->{request} = $request;
	while (1)
	{
		$answer = $self->call($request);
		$first = $answer->{asked} if !defined $first;
		last                      if !$answer->{lost};
		$self->{resolved}++;
		$self->{session}->reconnect;
		if (!$request->{repeatable})
		{
			$self->found_or_not($request, $answer, $first);
			return;
		}
		$request->{repeated} = 1;
	}
	$self->note($request, $answer, $first);
	$self->settle($answer->{code} eq '00000' ? 'c' : 'r');
	return;
}

# An answer got lost and the call may not be repeated: look whether it has had
# its effect.
sub found_or_not
{
	my ($self, $request, $answer, $first) = @_;
	my $record = $request->{record};
	my $found = $request->{find} ? $request->{find}->($first) : undef;

	@$request{qw(asked told)} = ($first, $answer->{told});
	$self->{books} = $request->{books_after}->()
	  if $found && $request->{books_after};
	@$record{qw(asked told code)} =
	  ($first, $answer->{told}, $found ? '00000' : 'lost');
	push @{ $self->{pending} }, $record;
	$self->{request} = undef;
	$self->settle($found ? 'c' : 'r');
	return;
}

sub call
{
	my ($self, $request) = @_;

	$self->{count} += $request->{count} || 1;
	return $self->{session}
	  ->ask_and_meanwhile($request->{meanwhile}, $request->{sql},
		@{ $request->{arguments} })
	  if $request->{meanwhile};
	return $self->{session}->ask($request->{sql}, @{ $request->{arguments} });
}

# Judge an answer, and have it in the list of what is to be settled.
sub note
{
	my ($self, $request, $answer, $first) = @_;
	my @records = @{ $request->{records} || [ $request->{record} ] };

	@$_{qw(asked told code)} = ($first, @$answer{qw(told code)})
	  foreach @records;
	$request->{last_asked} = $answer->{asked};
	$request->{asked} = $first;
	$request->{told} = $answer->{told};
	if (!$self->is_tolerable($answer->{code}))
	{
		$request->{judge}->($answer, $request);
	}
	push @{ $self->{pending} }, @records;
	if ($request->{changes_stock} && $answer->{code} eq '00000' && !$self->{inside})
	{
		push @{ $self->{changes} }, $request;
		shift @{ $self->{changes} } if @{ $self->{changes} } > 8;
	}
	$self->{request} = undef;
	return;
}

# May any call end like this, as things are?
sub is_tolerable
{
	my ($self, $code) = @_;
	my $profile = $self->{profile};

	return 1 if $code eq '57014' && ($profile->{kills} || $self->{timeouts});
	return 1 if $code eq '55P03' && $self->{timeouts};
	return 1 if $code eq '40001' && $self->{isolation} ne 'READ COMMITTED';
	return 1 if $code eq '40P01' && $profile->{several};
	return 0;
}

# The fate of what is pending is known.
sub settle
{
	my ($self, $fate) = @_;
	my $now = time;

	foreach my $record (@{ $self->{pending} })
	{
		$record->{settled} = $now;
		$record->{began} = $record->{asked} if !defined $record->{began};
		$record->{fate} =
			$record->{fate} && $record->{fate} eq 'r' ? 'r'
		  : $record->{code} eq '00000'                ? $fate
		  :                                             'r';
		$record->{number} = ++$self->{number_of_records};
		$record->{client} = $self->{number};
		$self->{log}->add($record);
	}
	$self->{pending} = [];
	$self->{undone} = $self->{maybe_undone}
	  if $self->{maybe_undone} && $self->{maybe_undone}{record}{fate} eq 'r';
	$self->{maybe_undone} = undef;
	if ($fate eq 'c')
	{
		$self->hand_over($_) foreach @{ $self->{fresh} };
		push @{ $self->{own} }, @{ $self->{fresh} };
		push @{ $self->{orders} }, @{ $self->{fresh_orders} };
		splice @{ $self->{own} }, 0, -30    if @{ $self->{own} } > 30;
		splice @{ $self->{orders} }, 0, -20 if @{ $self->{orders} } > 20;
	}
	$self->{fresh} = [];
	$self->{fresh_orders} = [];
	return;
}

# Tell the others of a hold.
sub hand_over
{
	my ($self, $hold) = @_;

	syswrite $self->{handed},
	  join("\t",
		$hold->{rid}, Simulator::Log::lines_text($hold->{lines}),
		$hold->{expires}, $hold->{customer})
	  . "\n";
	return;
}

sub hear_of_holds
{
	my ($self) = @_;
	my $handle = $self->{handed_by_others};

	seek $handle, 0, 1;
	my $all = do { local $/; <$handle> };
	return if !defined $all || $all eq '';
	my @lines = split /\n/, ($self->{unheard} || '') . $all, -1;
	$self->{unheard} = pop @lines;
	splice @lines, 0, -30 if @lines > 30;
	foreach my $line (@lines)
	{
		my %hold;
		@hold{qw(rid lines expires customer)} = split /\t/, $line;
		$hold{lines} = Simulator::Log::lines_hash($hold{lines});
		push @{ $self->{met} }, \%hold;
	}
	splice @{ $self->{met} }, 0, -30 if @{ $self->{met} } > 30;
	return;
}

# Several calls that are committed together, or not at all.
sub transaction
{
	my ($self, $shape, $dice, @intents) = @_;
	my $mark = "$self->{name}-" . ++$self->{transactions};
	my $session = $self->{session};
	my $before = $self->{books}->copy;
	my $began = time;
	my $begin = 'BEGIN';
	my $failed = 0;

	if ($shape =~ /^[A-Z]/)
	{
		$begin .= " ISOLATION LEVEL $shape";
		$self->{isolation} = $shape;
	}
	if ($shape eq 'timeout')
	{
		$begin .=
		  $dice->[2] < 0.5
		  ? sprintf('; SET LOCAL statement_timeout = %d', 1 + $dice->[2] * 40)
		  : sprintf('; SET LOCAL lock_timeout = %d', 1 + $dice->[2] * 10);
		$self->{timeouts} = 1;
	}
	$self->{inside} = 1;

	my $answer = $session->tell(
		"$begin; INSERT INTO sim.mark VALUES ('$mark', '$self->{isolation}')"
	);
	if ($shape =~ /^[A-Z]/ && $answer->{code} eq '00000' && $dice->[5] < 0.3)
	{
		$answer = $self->overtake($before);
	}
	foreach my $n (0 .. $#intents)
	{
		last if $answer->{lost} || ($failed = $answer->{code} ne '00000');
		# a hold may die between two calls, and others wait meanwhile
		sleep $intents[$n][9] * 0.1 if $n > 0 && $intents[$n][8] < 0.1;
		my $request = $self->request($intents[$n], 'in transaction') or next;
		my $savepoint = $dice->[3] < 0.4;
		my ($books, $fresh, $fresh_orders);
		if ($savepoint)
		{
			$books = $self->{books}->copy;
			$fresh = [ @{ $self->{fresh} } ];
			$fresh_orders = [ @{ $self->{fresh_orders} } ];
			$answer = $session->tell('SAVEPOINT here');
			next if $answer->{code} ne '00000';
		}
		$self->{request} = $request;
		$answer = $self->call($request);
		last if $answer->{lost};
		$_->{began} = $began
		  foreach @{ $request->{records} || [ $request->{record} ] };
		$self->note($request, $answer, $answer->{asked});
		if ($savepoint
			&& ($answer->{code} ne '00000' || $intents[$n][7] < 0.4))
		{
			my $undone = $session->tell('ROLLBACK TO SAVEPOINT here');
			my $now = time;
			foreach
			  my $record (@{ $request->{records} || [ $request->{record} ] })
			{
				$record->{fate} = 'r';
			}
			$self->{books} = $books;
			$self->{fresh} = $fresh;
			$self->{fresh_orders} = $fresh_orders;
			$answer = $undone;
		}
	}
	$failed ||= $answer->{code} ne '00000';
	my $committed = 0;
	if ($answer->{lost})
	{
		$session->reconnect;
		$committed = $self->is_marked($mark);
		$self->violation(
			"transaction $mark is committed though nobody asked for it")
		  if $committed;
	}
	elsif ($failed || $dice->[4] < 0.2)
	{
		$answer = $session->tell('ROLLBACK');
		$session->reconnect if $answer->{lost};
	}
	elsif ($shape eq 'prepare')
	{
		$committed = $self->in_two_phases($mark, $dice->[5]);
	}
	else
	{
		$answer = $session->tell('COMMIT');
		$committed = $answer->{code} eq '00000';
		if ($answer->{lost})
		{
			$self->{resolved}++;
			$session->reconnect;
			$committed = $self->is_marked($mark);
		}
		elsif (!$committed)
		{
			$self->violation(
				"COMMIT failed with $answer->{code}: $answer->{message}")
			  if !$self->is_tolerable($answer->{code});
			$session->tell('ROLLBACK');
		}
	}
	if ($self->{request})
	{
		# the call whose answer got lost: it may have had stock for a while
		my @records =
		  @{ $self->{request}{records} || [ $self->{request}{record} ] };
		@$_{qw(asked told code began)} = ($began, time, 'lost', $began)
		  foreach @records;
		push @{ $self->{pending} }, @records;
		$self->{request} = undef;
	}
	$self->{books} = $before if !$committed;
	$self->{isolation} = 'READ COMMITTED';
	$self->{timeouts} = 0;
	$self->{inside} = 0;
	$self->settle($committed ? 'c' : 'r');
	return;
}

# Is a transaction committed?  Its backend is gone.
sub is_marked
{
	my ($self, $mark) = @_;

	return $self->{session}
	  ->value('SELECT count(*) FROM sim.mark WHERE mark = ?', $mark);
}

# PREPARE TRANSACTION, and the end by another connection, sometimes after a rest
# in which the server may have crashed.
sub in_two_phases
{
	my ($self, $mark, $die) = @_;
	my $session = $self->{session};
	my $name = "$self->{database} $mark";
	my $answer = $session->tell("PREPARE TRANSACTION '$name'");

	if ($answer->{lost})
	{
		$self->{resolved}++;
		$session->reconnect;
		return 0
		  if !$session->value(
			'SELECT count(*) FROM pg_prepared_xacts WHERE gid = ?', $name);
	}
	elsif ($answer->{code} ne '00000')
	{
		$self->violation(
			"PREPARE TRANSACTION failed with $answer->{code}: $answer->{message}"
		  )
		  if !$self->is_tolerable($answer->{code})
		  && $answer->{code} ne '53200';
		$session->tell('ROLLBACK');
		return 0;
	}

	sleep $die < 0.05 ? 0.3 : $die * 0.01;
	my $commit = $die < 0.75;
	my $other = $self->second_session;
	while (1)
	{
		$answer = $other->tell(
			($commit ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'");
		last if $answer->{code} eq '00000';
		# an earlier attempt had got through
		last if $answer->{code} eq '42704' && $self->{attempted_two_phases};
		if ($answer->{lost})
		{
			$self->{resolved}++;
			$self->{attempted_two_phases} = 1;
			$other->reconnect;
		}
		elsif ($answer->{code} ne '57014' && $answer->{code} ne '55000')
		{
			$self->violation(
				"prepared transaction $name cannot be ended: $answer->{code} $answer->{message}"
			);
		}
		sleep 0.01;
	}
	$self->{attempted_two_phases} = 0;
	my $there = $self->is_marked($mark);
	$self->violation("prepared transaction $name: "
		  . ($there ? 'its mark is there' : 'its mark is missing'))
	  if !$there != !$commit;
	return $commit;
}

# The end: everything of the client's own must be as its books say.
sub close_books
{
	my ($self) = @_;
	my $books = $self->{books};

	foreach my $sku (sort keys %{ $books->{sku} })
	{
		my $found = $self->on_hand($sku);
		$self->violation(
			"$found of $sku are on hand at the end, and $books->{sku}{$sku}{on_hand} should be",
			sku => $sku) if $found != $books->{sku}{$sku}{on_hand};
	}
	return;
}

1;
