# What a client can ask for, and what the answer has to be.
#
# Each deed makes a request: the call, what is written down of it, and a judge
# for its answer.  For the client's own SKUs the judge knows the answer from the
# books.  For those that everybody buys, he knows which answers are possible at
# all; the rest is for those who see all logs (Verdict, SoldOut).
#
# An intention is a list of dice: [0] which deed, [1] whose SKU, [2] which SKU or
# hold, [3] how many, [4] how long, [5] the variant, [6] with a key or not; the
# others are for the transaction around it.
package Simulator::Deeds;

use strict;
use warnings;

use Simulator::Books;
use Simulator::Log;
use Time::HiRes qw(sleep time);

use constant BLUR => 0.002;

my $hold_columns =
  'reservation_id, status, extract(epoch FROM expires_at), replayed, available';
my $two_arrays = '?::text[], ?::bigint[]';

# Weights: of one's own SKUs, of those that all buy.
my %deeds = (
	reserve        => [ 24, 30 ],
	cart           => [ 8, 12 ],
	batch          => [ 2.5, 3.5 ],
	confirm        => [ 13, 13 ],
	cancel         => [ 9, 11 ],
	release        => [ 5, 5 ],
	extend         => [ 6, 5 ],
	status         => [ 4, 2 ],
	available      => [ 6, 2 ],
	receive        => [ 5, 4 ],
	adjust         => [ 3, 1 ],
	set_stock      => [ 2, 0 ],
	set_stripes    => [ 1, 1.5 ],
	set_policy     => [ 4, 0 ],
	selling        => [ 1, 0 ],
	cancel_order   => [ 3, 2 ],
	return_units   => [ 4, 2 ],
	complete_order => [ 2, 1 ],
	record_payment => [ 3, 1 ],
	order_status   => [ 2, 1 ],
	repeat         => [ 4, 2 ],
	again          => [ 3, 3 ],
	change_again   => [ 3, 2 ],
	twin           => [ 0, 5 ],
	upkeep         => [ 0, 1.2 ],
	catalogue      => [ 0, 0.6 ]);

my @deeds = sort keys %deeds;
my @sum = (0, 0);
foreach my $weights (values %deeds)
{
	$sum[$_] += $weights->[$_] foreach 0, 1;
}

sub choose_deed
{
	my ($die, $column) = @_;
	my $left = $die * $sum[$column];

	foreach my $deed (@deeds)
	{
		return $deed if ($left -= $deeds{$deed}[$column]) < 0;
	}
	return 'reserve';
}

# The request for an intention; nothing if there is nothing it could be about.
sub request
{
	my ($self, $intent, $inside) = @_;
	my $own = $intent->[1] < 0.45;
	my $deed = choose_deed($intent->[0], $own ? 0 : 1);
	my $method = "ask_$deed";

	return $self->$method($intent, $own, $inside)
	  || $self->ask_reserve($intent, $own, $inside);
}

sub new_name
{
	my ($self) = @_;

	return "$self->{name}-" . ++$self->{names};
}

sub fails
{
	my ($self, $request, $answer, $text) = @_;
	my $record = $request->{record};
	my @row = map { defined $_ ? $_ : '-' } @{ $answer->{rows}[0] || [] };
	my $message = $answer->{message} || '';

	$message =~ s/\s+/ /g;
	$self->violation(
		"$record->{op}: $text (answer "
		  . join(' ', $answer->{code}, @row, $message) . ')',
		rid      => $record->{rid},
		oid      => $record->{oid},
		customer => $record->{customer},
		key      => $record->{key},
		sku => join(',', map { s/:.*//r } split /,/, $record->{lines} || ''));
	return;
}

sub expect
{
	my ($self, $request, $answer, @codes) = @_;

	return if grep { $answer->{code} eq $_ } @codes;
	$self->fails($request, $answer, 'expected ' . join(' or ', @codes));
	return;
}

# The n-th number that is made of one die.
sub another
{
	my ($die, $n) = @_;
	my $number = $die * 7919 * $n;

	return $number - int $number;
}

# A number from 1, mostly small.
sub units
{
	my ($die) = @_;

	return 1 + int($die * $die * 6);
}

# How long a hold is to live, in milliseconds.
sub lifetime
{
	my ($self, $die) = @_;
	my $short = $self->{profile}{short_lives};

	return 30 + int($die / $short * 400) if $die < $short * 0.7;
	return 500 + int($die * 2500)        if $die < $short;
	return 90_000;
}

# Carts and batches take what is at the default location.
sub pick_sku
{
	my ($self, $die, $own, $default_location) = @_;
	my $profile = $self->{profile};

	if ($own)
	{
		my $private = $profile->{private};
		my $count = @$private - ($default_location ? 2 : 1);
		return "$self->{name}-" . $private->[ $die * $count ]{name};
	}
	my $sum = 0;
	$sum += $_->{weight} foreach @{ $profile->{shared} };
	my $left = $die * $sum;
	foreach my $shared (@{ $profile->{shared} })
	{
		return $shared->{sku} if ($left -= $shared->{weight}) < 0;
	}
	return $profile->{shared}[0]{sku};
}

#
# Reserving
#

sub location_of
{
	my ($sku) = @_;

	return $sku =~ /-FAR$/ ? 'annex' : undef;
}

sub ask_reserve
{
	my ($self, $intent, $own) = @_;
	my $sku = $self->pick_sku($intent->[2], $own);
	my $try = $intent->[5] < 0.6 ? 'try_' : '';

	return $self->reserve_request(
		$own,
		$try ? 'try_reserve' : 'reserve',
		{ $sku => units($intent->[3]) },
		$self->lifetime($intent->[4]),
		$intent->[6] < 0.5 ? $self->new_name : undef);
}

sub ask_cart
{
	my ($self, $intent, $own) = @_;
	my %lines;

	foreach my $n (1 .. 2 + int($intent->[7] * 2))
	{
		my $sku = $self->pick_sku(another($intent->[2], $n), $own, 1);
		$lines{$sku} = 1 + int(another($intent->[3], $n) * 4);
	}
	return $self->reserve_request(
		$own,
		('reserve_cart', 'try_reserve_cart', 'reserve_lines')
		  [ int($intent->[5] * 3) ],
		\%lines,
		$self->lifetime($intent->[4]),
		$intent->[6] < 0.5 ? $self->new_name : undef);
}

sub reserve_request
{
	my ($self, $own, $op, $lines, $lifetime, $key, $customer) = @_;
	# in any order: who names them the other way round must not be in the way
	my @skus = sort keys %$lines;
	@skus = reverse @skus if ++$self->{carts} % 2;
	my $text = Simulator::Log::lines_text($lines);
	my $ttl = "$lifetime milliseconds";
	my ($sql, @arguments);

	$customer ||= defined $key ? $key : $self->new_name;
	if ($op eq 'reserve_lines')
	{
		$sql =
		  "SELECT $hold_columns FROM inv_reserve_lines(?::jsonb, ?, ?, ?::interval)";
		@arguments = (
			'['
			  . join(',',
				map { qq({"sku":"$_","quantity":$lines->{$_}}) } @skus)
			  . ']');
	}
	elsif ($op =~ /cart/)
	{
		my $shortages = $op =~ /try/ ? ', shortages' : '';
		$sql =
		  "SELECT $hold_columns$shortages FROM inv_$op($two_arrays, ?, ?, ?::interval)";
		@arguments = (\@skus, [ @{$lines}{@skus} ]);
	}
	else
	{
		$sql =
		  "SELECT $hold_columns FROM inv_$op(?::text, ?::bigint, ?, ?, ?::interval, ?)";
		@arguments = ($skus[0], $lines->{ $skus[0] });
	}
	my %request = (
		sql       => $sql,
		arguments => [
			@arguments, $key, $customer, $ttl,
			$op =~ /cart|lines/ ? () : location_of($skus[0])
		],
		own      => $own,
		lines    => $lines,
		lifetime => $lifetime / 1000 < $self->{profile}{max_ttl}
		? $lifetime / 1000
		: $self->{profile}{max_ttl},
		repeatable => defined $key,
		scope      => $op =~ /cart|lines/ ? 'cart' : 'reserve',
		record     =>
		  { op => $op, lines => $text, customer => $customer, key => $key });
	$request{judge} = sub { $self->judge_reserve(@_) };
	$request{find} = sub { $self->find_hold($request{record}) };
	$request{books_after} = sub {
		my $books = $self->{books}->copy;
		$self->enter_hold(\%request, $books);
		return $books;
	  }
	  if $own;
	return \%request;
}

# The rows of a query, however often their connection breaks.
sub sure_rows
{
	my ($self, $sql, @arguments) = @_;

	while (1)
	{
		my $answer = $self->{session}->ask($sql, @arguments);
		return @{ $answer->{rows} } if $answer->{code} eq '00000';
		die "$sql: $answer->{message}\n"
		  if !$answer->{lost} && $answer->{code} ne '57014';
		$self->{session}->reconnect if $answer->{lost};
	}
}

# After an answer was lost: is the hold of this customer there?
sub find_hold
{
	my ($self, $record) = @_;
	my ($row) = $self->sure_rows(
		'SELECT reservation_id, extract(epoch FROM expires_at) FROM inv_reservation'
		  . ' WHERE customer = ? AND line_no = 1',
		$record->{customer});

	return 0 if !$row;
	@$record{qw(rid expires status replayed)} = (@$row, 'active', 0);
	return 1;
}

# A hold of one's own is in the books.
sub enter_hold
{
	my ($self, $request, $books) = @_;
	my $record = $request->{record};

	$books->{hold}{ $record->{rid} } = {
		rid    => $record->{rid},
		lines  => { %{ $request->{lines} } },
		prices => {
			map { $_ => $books->{sku}{$_}{price} } keys %{ $request->{lines} }
		},
		expires => $record->{expires},
		# that is when it was made, exactly
		created  => $record->{expires} - $request->{lifetime},
		customer => $record->{customer},
		keyed    => defined $record->{key},
		state    => 'active'
	};
	return;
}

sub judge_reserve
{
	my ($self, $answer, $request) = @_;
	my ($record, $own) = @$request{qw(record own)};
	my $row = $answer->{rows}[0];

	if ($answer->{code} eq '00000' && defined $row->[0])
	{
		@$record{qw(rid status expires replayed available)} = @$row;
		$self->fails($request, $answer, 'a new hold is not active')
		  if $row->[1] ne 'active'
		  && !($row->[3] && ($request->{repeated} || $request->{shared_key}));
		$self->fails($request, $answer, 'nothing is there to be replayed')
		  if $row->[3] && !$request->{repeated} && !$request->{shared_key};
		$self->fails($request, $answer, 'available is negative')
		  if $row->[4] < 0;
		my $early = $request->{asked} + $request->{lifetime} - BLUR;
		my $late = $request->{told} + $request->{lifetime} + BLUR;
		$self->fails(
			$request, $answer,
			sprintf('a hold of %s s, made between %.6f and %.6f',
				@$request{qw(lifetime asked told)}))
		  if !$request->{shared_key}
		  && ($row->[2] < $early || $row->[2] > $late);
		if ($own)
		{
			$self->judge_own_hold($answer, $request, $row);
			$self->enter_hold($request, $self->{books});
		}
		elsif (!$record->{key} || !$request->{shared_key} || !$row->[3])
		{
			push @{ $self->{fresh} },
			  {
				rid      => $row->[0],
				lines    => $request->{lines},
				expires  => $row->[2],
				customer => $record->{customer}
			  };
		}
		push @{ $self->{keys} }, { rid => $row->[0], request => $request }
		  if $record->{key} && !$self->{inside} && !$request->{records};
		$self->{maybe_undone} = $request
		  if $record->{key}
		  && $self->{inside}
		  && !$request->{records}
		  && !$request->{shared_key};
		splice @{ $self->{keys} }, 0, -12 if @{ $self->{keys} } > 12;
		return;
	}

	if ($answer->{code} eq '00000' && $record->{op} =~ /^try/)
	{
		$record->{code} = 'IV001';
		$record->{available} = $row->[4];
		my $short = $row->[5];
		if (defined $short)
		{
			my @short;
			push @short, "$1:$3:$2"
			  while $short =~
			  /"sku": "([^"]+)", "location": "[^"]*", "available": (\d+), "requested": (\d+)/g;
			$record->{short} = join ',', @short;
		}
		else
		{
			$record->{short} = "$record->{lines}:$row->[4]";
		}
	}
	elsif ($answer->{code} eq 'IV001')
	{
		my @short;
		push @short, "$1:$2:$3"
		  while $answer->{message} =~
		  /SKU "([^"]+)": (\d+) requested, (\d+) available/g;
		$record->{short} = join ',', @short;
	}
	if ($record->{code} eq 'IV001')
	{
		$self->fails($request, $answer,
			'refused without saying what is short')
		  if $record->{short} eq '';
		foreach my $short (split /,/, $record->{short})
		{
			my ($sku, $wanted, $available) = split /:/, $short;
			$self->fails($request, $answer,
				"refused $wanted of $sku with $available available")
			  if $available >= $wanted || $wanted != $request->{lines}{$sku};
		}
		$self->judge_own_refusal($answer, $request) if $own;
		return;
	}
	if ($answer->{code} eq 'IV006' && $own)
	{
		return
		  if grep { !$self->{books}{sku}{$_}{selling} }
		  keys %{ $request->{lines} };
	}
	$self->fails($request, $answer, 'not an answer to this');
	return;
}

# One's own SKUs: was there that much, and is "available" right?
sub judge_own_hold
{
	my ($self, $answer, $request, $row) = @_;
	my $books = $self->{books};
	my ($left_most, $left_least);

	foreach my $sku (sort keys %{ $request->{lines} })
	{
		my $units = $request->{lines}{$sku};
		my ($least, $most, $without_dead) =
		  $books->available($sku, @$request{qw(asked told)});

		$self->fails($request, $answer,
			"held $units of $sku, of which $most were there")
		  if $units > $most;
		$self->fails($request, $answer, "held $sku, which is not on sale")
		  if !$books->{sku}{$sku}{selling};
		$left_most = $most - $units
		  if !defined $left_most || $most - $units < $left_most;
		my $here = $books->{sku}{$sku}{striped} ? 0 : $without_dead - $units;
		$left_least = $here if !defined $left_least || $here < $left_least;
	}
	return if $request->{repeated} || $request->{numbers_may_differ};
	$self->fails($request, $answer,
		"between $left_least and $left_most should be available")
	  if $row->[4] > $left_most || $row->[4] < $left_least;
	return;
}

sub judge_own_refusal
{
	my ($self, $answer, $request) = @_;
	my $books = $self->{books};
	my %short = map { (split /:/)[ 0, 2 ] } split /,/,
	  $request->{record}{short};

	# What was free for the whole time of the last attempt, was free.  (A batch
	# may say what there was before its first request took some.)
	foreach my $sku (sort keys %{ $request->{lines} })
	{
		my $units = $request->{lines}{$sku};
		my ($least, $most) =
		  $books->available_to_buyer($sku, $request->{last_asked},
			$request->{told});

		$self->fails($request, $answer,
			"refused $units of $sku, of which $least were there")
		  if exists $short{$sku} && $least >= $units;
		$self->fails($request, $answer,
			"$short{$sku} of $sku said to be available, between $least and $most are"
		  )
		  if exists $short{$sku}
		  && !$request->{records}
		  && !$request->{numbers_may_differ}
		  && ( $short{$sku} > ($most > 0 ? $most : 0)
			|| $short{$sku} < $least);
		$self->fails($request, $answer,
			"$sku is short, $most are there, and it is not named")
		  if !exists $short{$sku} && $most < $units;
	}
	$self->{judged}{'own refusals'}++;
	return;
}

sub ask_batch
{
	my ($self, $intent, $own) = @_;
	my (@skus, @units);

	foreach my $n (1 .. 2 + int($intent->[7] * $intent->[7] * 20))
	{
		push @skus, $self->pick_sku(another($intent->[2], $n), $own, 1);
		push @units, units(another($intent->[3], $n));
	}
	return $self->batch_request($own, \@skus, \@units,
		$self->lifetime($intent->[4]));
}

sub batch_request
{
	my ($self, $own, $skus, $units, $lifetime) = @_;
	my @keys = map { $self->new_name } @$skus;
	my @records = map {
		{
			op       => 'reserve_batch',
			lines    => "$skus->[$_]:$units->[$_]",
			customer => $keys[$_],
			key      => $keys[$_]
		}
	} 0 .. $#$skus;
	return {
		sql =>
		  "SELECT $hold_columns, error FROM inv_reserve_batch($two_arrays, ?::text[], ?::text[], ?::interval)",
		arguments =>
		  [ $skus, $units, \@keys, \@keys, "$lifetime milliseconds" ],
		lifetime => $lifetime / 1000 < $self->{profile}{max_ttl}
		? $lifetime / 1000
		: $self->{profile}{max_ttl},
		own        => $own,
		repeatable => 1,
		count      => scalar @$skus,
		record     => $records[0],
		records    => \@records,
		judge      => sub { $self->judge_batch(@_) }
	};
}

# A row a request; each is judged as a try would be, one after the other.
sub judge_batch
{
	my ($self, $answer, $request) = @_;

	if ($answer->{code} ne '00000'
		|| @{ $answer->{rows} } != @{ $request->{records} })
	{
		$self->fails($request, $answer, 'not a row for each request');
	}
	foreach my $n (0 .. $#{ $request->{records} })
	{
		my $record = $request->{records}[$n];
		my $row = $answer->{rows}[$n];
		my ($sku, $units) = split /:/, $record->{lines};
		my %single =
		  (%$request, record => $record, lines => { $sku => $units });

		@$record{qw(asked told)} = @$request{qw(asked told)};
		$record->{code} = $row->[5] || '00000';
		my %answer = (
			code => $record->{code} eq 'IV001' ? '00000' : $record->{code},
			rows => [ [ @$row[ 0 .. 4 ] ] ]);
		$record->{op} = 'try_batch';
		$self->judge_reserve(\%answer, \%single);
		$record->{op} = 'reserve_batch';
		# what was reserved in a batch can be repeated singly
		next if !defined $record->{rid} || $self->{inside};
		my $ttl = $request->{arguments}[4];
		push @{ $self->{keys} },
		  {
			rid     => $record->{rid},
			request => {
				own => $request->{own},
				sql =>
				  "SELECT $hold_columns FROM inv_reserve(?::text, ?::bigint, ?, ?, ?::interval)",
				arguments =>
				  [ $sku, $units, $record->{key}, $record->{customer}, $ttl ],
				record => {
					op => 'reserve',
					map { $_ => $record->{$_} } qw(lines customer key)
				}
			}
		  };
	}
	return;
}

# The key of a call that was rolled back: nobody may remember it, least of all
# the session that had it.
sub ask_again
{
	my ($self, $intent, $own, $inside) = @_;
	my $undone = $self->{undone};

	return if $inside || !$undone;
	$self->{undone} = undef;
	return {
		%$undone,
		repeated => 0,
		record   =>
		  { map { $_ => $undone->{record}{$_} } qw(op lines customer key) },
		judge => sub { $self->judge_reserve(@_) }
	};
}

# The same key again: the same hold, or IV005 if it asks for something else.
sub ask_repeat
{
	my ($self, $intent, $own, $inside) = @_;
	return if !@{ $self->{keys} } || $inside;
	my $first = $self->{keys}[ $intent->[2] * @{ $self->{keys} } ];
	my %again = %{ $first->{request} };
	my $other = $intent->[5] < 0.2;
	my $record = { %{ $again{record} } };

	delete @$record{
		qw(rid status expires replayed available code asked told began settled fate number)
	};
	my @arguments = @{ $again{arguments} };
	if ($other)
	{
		# SKUs, units, key, customer, ttl; lines as JSON have the units in them
		my $json = $again{record}{op} eq 'reserve_lines';
		my ($units, $customer, $ttl) = $json ? (undef, 2, 3) : (1, 3, 4);
		if ($intent->[3] < 0.4 || $json) { $arguments[$ttl] = '77 seconds'; }
		elsif ($intent->[3] < 0.6) {
			$arguments[$customer] = 'somebody else';
		}
		elsif (ref $arguments[$units])
		{
			$arguments[$units] = [ map { $_ + 1 } @{ $arguments[$units] } ];
		}
		else { $arguments[$units]++; }
	}
	return {
		%again,
		arguments  => \@arguments,
		record     => { %$record, op => "repeat_$record->{op}" },
		repeatable => 1,
		judge      => sub {
			my ($answer, $request) = @_;
			if ($other)
			{
				$self->expect($request, $answer, 'IV005');
				return;
			}
			$self->expect($request, $answer, '00000');
			my $row = $answer->{rows}[0];
			@{ $request->{record} }{qw(rid status expires replayed available)}
			  = @$row;
			$self->fails($request, $answer, "this key made $first->{rid}")
			  if !$row->[3] || $row->[0] ne $first->{rid};
		}
	};
}

# A key that several clients use at once, all asking for the same: one hold.
sub ask_twin
{
	my ($self, $intent) = @_;
	my $profile = $self->{profile};
	# they come by in the same moment, more or less
	my $slot = int(time() * 20);
	my $dice = Simulator::Dice->new($slot, $profile->{seed});
	my $request = $self->reserve_request(
		0, 'try_reserve',
		{ $self->pick_sku($dice->roll, 0) => units($dice->roll) },
		$self->lifetime($dice->roll), "twin-$slot");

	$request->{shared_key} = 1;
	return $request;
}

#
# What can be done with a hold
#

# One's own hold: of the books.  Otherwise of one's own making, or another's.
sub pick_hold
{
	my ($self, $die, $own, $inside) = @_;

	if ($own)
	{
		my @ids = sort keys %{ $self->{books}{hold} };
		return                        if !@ids;
		$self->forget_old_holds(@ids) if @ids > 40;
		@ids = sort keys %{ $self->{books}{hold} };
		return $self->{books}{hold}{ $ids[ $die * @ids ] };
	}
	if (!$inside && $die * 100 - int($die * 100) < 0.25)
	{
		my $hold = $self->hold_on_the_brink;
		return $hold if $hold;
	}
	my $list =
		$inside && @{ $self->{fresh} } ? $self->{fresh}
	  : $die < 0.5                     ? $self->{own}
	  :                                  $self->{met};
	return if !@$list;
	$die = $die * 2 - int($die * 2);
	# mostly one of the newest
	return $list->[ -1 - int($die * $die * @$list) ];
}

# A hold that is about to die, and the very moment before that, or just after:
# sweeps and other buyers come for it at the same time.
sub hold_on_the_brink
{
	my ($self) = @_;
	my $now = time;

	foreach my $hold (reverse @{ $self->{own} }, reverse @{ $self->{met} })
	{
		my $left = $hold->{expires} - $now;
		next if $left < 0 || $left > 0.06;
		$left += (++$self->{brinks} % 8 - 6) * 0.0005;
		sleep $left if $left > 0;
		return $hold;
	}
	return;
}

# What is closed cannot change any more.
sub forget_old_holds
{
	my ($self, @ids) = @_;
	my $books = $self->{books};

	foreach my $id (@ids)
	{
		delete $books->{hold}{$id} if $books->{hold}{$id}{state} ne 'active';
		last                       if keys %{ $books->{hold} } <= 25;
	}
	return;
}

# Codes that are right for a call that wants a live hold, by the books.
sub codes_for_live
{
	my ($self, $hold, $request) = @_;
	my $state = Simulator::Books::state_of($hold, @$request{qw(asked told)});
	my @purged = $self->{profile}{purges} && !$hold->{keyed} ? ('IV003') : ();

	return ('00000')          if $state eq 'live';
	return ('IV002', @purged) if $state eq 'dead' || $state eq 'expired';
	return ('IV002', '00000', @purged) if $state eq 'either';
	return ('IV008', @purged);
}

# Codes that are right for a payment of a hold that is or may be dead: its units
# can be had, or not.
sub codes_for_late
{
	my ($self, $hold, $request, $state) = @_;
	my $books = $self->{books};
	my %code = ('00000' => 1);

	$code{IV003} = 1 if $self->{profile}{purges} && !$hold->{keyed};
	foreach my $sku (keys %{ $hold->{lines} })
	{
		my $units = $hold->{lines}{$sku} or next;
		my ($least, $most) =
		  $books->available_to_buyer($sku, @$request{qw(asked told)});

		if (!$books->{sku}{$sku}{selling})
		{
			$code{IV006} = 1;
			delete $code{'00000'} if $state ne 'either';
		}
		$code{IV001} = 1         if $least < $units;
		delete $code{'00000'}    if $most < $units && $state ne 'either';
	}
	return sort keys %code;
}

sub hold_request
{
	my ($self, $hold, $own, %request) = @_;
	my $record = $request{record};

	$record->{rid} = $hold->{rid};
	$record->{lines} ||= Simulator::Log::lines_text($hold->{lines});
	return { own => $own, %request };
}

# For SKUs that all buy: these and no others.
my @any_hold_code = qw(00000 IV002 IV003 IV008);

sub ask_confirm
{
	my ($self, $intent, $own, $inside) = @_;
	my $hold = $self->pick_hold($intent->[2], $own, $inside) or return;
	my $key = $intent->[6] < 0.4 ? $self->new_name : undef;
	my $paid = $intent->[5] < 0.5 ? 'paid' : 'pending';
	my $stranger = $intent->[3] < 0.03;
	# a payment that may be late
	my $retake = $intent->[4] < 0.3 ? 1 : 0;

	return $self->hold_request(
		$hold, $own,
		sql =>
		  'SELECT order_id, status, total, replayed FROM inv_confirm(?::uuid, ?, ?, ?, ?::boolean)',
		arguments => [
			$hold->{rid}, $key,
			$stranger ? 'somebody else' : $hold->{customer}, $paid,
			$retake ? 't' : 'f'
		],
		repeatable => 1,
		record     => { op => 'confirm', key => $key, retake => $retake },
		judge      => sub {
			my ($answer, $request) = @_;
			my $record = $request->{record};
			my $row = $answer->{rows}[0];
			my $state = $own
			  && Simulator::Books::state_of($hold, @$request{qw(asked told)});

			if ($answer->{code} eq '00000')
			{
				@$record{qw(oid status replayed)} = @$row[ 0, 1, 3 ];
			}
			return $self->expect($request, $answer, 'IV003') if $stranger;
			if (!$own)
			{
				$self->expect($request, $answer, @any_hold_code,
					$retake ? 'IV001' : ());
				push @{ $self->{fresh_orders} },
				  {
					oid   => $row->[0],
					rid   => $hold->{rid},
					lines => $hold->{lines}
				  }
				  if $answer->{code} eq '00000';
				return;
			}
			if ($state eq 'confirmed')
			{
				$self->expect($request, $answer, '00000');
				$self->fails($request, $answer, "its order is $hold->{oid}")
				  if $row->[0] ne $hold->{oid} || !$row->[3];
				return;
			}
			$self->expect(
				$request, $answer,
				$retake && $state =~ /^(?:dead|expired|either)$/
				? $self->codes_for_late($hold, $request, $state)
				: $self->codes_for_live($hold, $request));
			return if $answer->{code} ne '00000';
			my $total = 0;
			$total += $hold->{lines}{$_} * $hold->{prices}{$_}
			  foreach keys %{ $hold->{lines} };
			$self->fails($request, $answer, "total should be $total")
			  if $row->[2] != $total;
			$self->fails($request, $answer,
				'it had not been confirmed before')
			  if $row->[3] && !$request->{repeated};
			$hold->{state} = 'confirmed';
			$hold->{oid} = $row->[0];
			my $books = $self->{books};
			$books->{sku}{$_}{on_hand} -= $hold->{lines}{$_}
			  foreach keys %{ $hold->{lines} };
			$books->{order}{ $row->[0] } = {
				oid    => $row->[0],
				rid    => $hold->{rid},
				status => 'confirmed',
				pay    => $paid,
				lines  => {
					map { $_ => [ $hold->{lines}{$_}, 0 ] }
					  keys %{ $hold->{lines} }
				}
			};
		});
}

sub ask_cancel
{
	my ($self, $intent, $own, $inside) = @_;
	my $hold = $self->pick_hold($intent->[2], $own, $inside) or return;

	return $self->cancel_request(
		$hold, $own,
		key      => $intent->[6] < 0.4 ? $self->new_name   : undef,
		customer => $intent->[5] < 0.5 ? $hold->{customer} : undef,
		stranger => $intent->[3] < 0.03);
}

sub cancel_request
{
	my ($self, $hold, $own, %option) = @_;
	my ($key, $stranger) = @option{qw(key stranger)};

	return $self->hold_request(
		$hold, $own,
		sql =>
		  'SELECT reservation_id, status, replayed FROM inv_cancel(?::uuid, ?, ?)',
		arguments => [
			$hold->{rid}, $key,
			$stranger ? 'somebody else' : $option{customer}
		],
		repeatable => 1,
		record     => { op => 'cancel', key => $key },
		judge      => sub {
			my ($answer, $request) = @_;
			my $record = $request->{record};
			my $row = $answer->{rows}[0];
			my $state = $own
			  && Simulator::Books::state_of($hold, @$request{qw(asked told)});

			@$record{qw(status replayed)} = @$row[ 1, 2 ]
			  if $answer->{code} eq '00000';
			return $self->expect($request, $answer, 'IV003') if $stranger;
			return $self->expect($request, $answer, qw(00000 IV003 IV008))
			  if !$own;
			return $self->expect($request, $answer, 'IV008')
			  if $state eq 'confirmed';
			$self->expect($request, $answer, '00000',
					 $self->{profile}{purges}
				  && !$hold->{keyed}
				  && $state ne 'live' ? 'IV003' : ());

			if ($answer->{code} eq 'IV003')
			{
				$hold->{state} = 'expired' if $state ne 'cancelled';
				return;
			}
			my $found = $row->[1];
			$self->fails($request, $answer, "the hold is $state")
			  if $found !~ /^(?:cancelled|expired)$/
			  || ($state eq 'live' || $state eq 'cancelled')
			  && $found ne 'cancelled'
			  || ($state eq 'dead' || $state eq 'expired')
			  && $found ne 'expired';
			$self->fails($request, $answer,
				'it had not been cancelled before')
			  if $row->[2] && $state eq 'live' && !$request->{repeated};
			$self->fails($request, $answer, 'it had been cancelled before')
			  if !$row->[2] && ($state eq 'cancelled');
			$hold->{state} = $found;
		});
}

sub ask_release
{
	my ($self, $intent, $own, $inside) = @_;
	my $hold = $self->pick_hold($intent->[2], $own, $inside) or return;
	my @skus = sort keys %{ $hold->{lines} };
	return if !@skus;
	my $sku = $skus[ $intent->[7] * @skus ];
	my $units = 1 + int($intent->[3] * ($hold->{lines}{$sku} + 0.3));
	my $key = $self->new_name;

	return $self->hold_request(
		$hold, $own,
		sql =>
		  'SELECT reservation_id, status, replayed FROM inv_release(?::uuid, ?, ?::bigint, ?)',
		arguments  => [ $hold->{rid}, $sku, $units, $key ],
		repeatable => 1,
		record => { op => 'release', key => $key, lines => "$sku:$units" },
		judge  => sub {
			my ($answer, $request) = @_;
			my $record = $request->{record};
			my $row = $answer->{rows}[0];

			@$record{qw(status replayed)} = @$row[ 1, 2 ]
			  if $answer->{code} eq '00000';
			return $self->expect($request, $answer, @any_hold_code, '22023')
			  if !$own;
			my @codes = $self->codes_for_live($hold, $request);
			@codes = map { $_ eq '00000' ? '22023' : $_ } @codes
			  if $units > ($hold->{lines}{$sku} || 0);
			$self->expect($request, $answer, @codes);
			return if $answer->{code} ne '00000';

			if ($units == Simulator::Books::held_by($hold))
			{
				$self->fails($request, $answer, 'nothing is left of it')
				  if $row->[1] ne 'cancelled';
				$hold->{state} = 'cancelled';
				return;
			}
			$self->fails($request, $answer, 'it lives')
			  if $row->[1] ne 'active' && !$request->{repeated};
			$hold->{lines}{$sku} -= $units;
			delete $hold->{lines}{$sku} if $hold->{lines}{$sku} == 0;
		});
}

sub ask_extend
{
	my ($self, $intent, $own, $inside) = @_;
	my $hold = $self->pick_hold($intent->[2], $own, $inside) or return;
	my $lifetime = $self->lifetime($intent->[4]);
	my $key = $intent->[6] < 0.4 ? $self->new_name : undef;

	return $self->hold_request(
		$hold, $own,
		sql =>
		  'SELECT extract(epoch FROM inv_extend(?::uuid, ?::interval, ?))',
		arguments  => [ $hold->{rid}, "$lifetime milliseconds", $key ],
		repeatable => defined $key,
		record     => { op => 'extend', key => $key },
		judge      => sub {
			my ($answer, $request) = @_;
			my $expires = $answer->{rows}[0] && $answer->{rows}[0][0];

			$request->{record}{expires} = $expires;
			return $self->expect($request, $answer, @any_hold_code) if !$own;
			$self->expect($request, $answer,
				$self->codes_for_live($hold, $request));
			return if $answer->{code} ne '00000';
			my $latest = $hold->{created} + $self->{profile}{max_ttl};
			my ($from, $to) = map {
				my $until = $_ + $lifetime / 1000;
				$until = $latest if $until > $latest;
				$until > $hold->{expires} ? $until : $hold->{expires}
			} @$request{qw(asked told)};
			$self->fails($request, $answer,
				sprintf('it should live until %.6f to %.6f', $from, $to))
			  if $expires < $from - BLUR || $expires > $to + BLUR;
			$hold->{expires} = $expires;
		},
		# without a key: see when it ends
		find => sub {
			my ($row) = $self->sure_rows(
				'SELECT extract(epoch FROM expires_at) FROM inv_reservation'
				  . ' WHERE reservation_id = ? AND line_no = 1',
				$hold->{rid});
			$hold->{expires} = $row->[0] if $own && $row;
			return 0;
		});
}

sub ask_status
{
	my ($self, $intent, $own, $inside) = @_;
	my $hold = $self->pick_hold($intent->[2], $own, $inside) or return;

	return $self->hold_request(
		$hold, $own,
		sql =>
		  'SELECT status, order_id, (SELECT string_agg(concat(line->>\'sku\', \':\', line->>\'quantity\'), \',\' ORDER BY line->>\'sku\')'
		  . ' FROM jsonb_array_elements(lines) AS line) FROM inv_reservation_status(?::uuid)',
		arguments  => [ $hold->{rid} ],
		repeatable => 1,
		record     => { op => 'status' },
		judge      => sub {
			my ($answer, $request) = @_;
			my $row = $answer->{rows}[0];
			my $state =
			  Simulator::Books::state_of({ state => 'active', %$hold },
				@$request{qw(asked told)});

			$request->{record}{status} = $row->[0]                   if $row;
			return $self->expect($request, $answer, qw(00000 IV003)) if !$own;
			$self->expect($request, $answer, '00000',
					 $self->{profile}{purges}
				  && !$hold->{keyed}
				  && $state ne 'live'
				  && $state ne 'confirmed' ? 'IV003' : ());
			return if $answer->{code} ne '00000';
			my %right = (
				live   => 'active',
				dead   => 'expired',
				either => 'active|expired');
			my $right = $right{$state} || $state;
			$self->fails($request, $answer, "it should be $right")
			  if $row->[0] !~ /^(?:$right)$/;
			my $lines = Simulator::Log::lines_text($hold->{lines});
			$self->fails($request, $answer, "it should have $lines")
			  if $state ne 'cancelled'
			  && (defined $row->[2] ? $row->[2] : '') ne $lines;
			$self->fails($request, $answer, 'wrong order')
			  if (defined $row->[1] ? $row->[1] : '') ne ($hold->{oid} || '');
		});
}

#
# Orders
#

sub pick_order
{
	my ($self, $die, $own) = @_;

	if ($own)
	{
		my $orders = $self->{books}{order};
		my @ids = sort keys %$orders;
		return if !@ids;
		delete $orders->{ shift @ids } while @ids > 15;
		return $orders->{ $ids[ $die * @ids ] };
	}
	my $list = $self->{orders};
	return @$list ? $list->[ $die * @$list ] : undef;
}

my $order_columns = 'order_id, reservation_id, status, payment_status';

# What all four calls for an order have in common.  Options: move, code that
# checks by the books and changes them; it returns the code to expect.
sub order_request
{
	my ($self, $order, $own, $op, $sql, $arguments, %option) = @_;

	return {
		sql        => "SELECT $order_columns FROM $sql",
		arguments  => [ $order->{oid}, @$arguments ],
		own        => $own,
		repeatable => 1,
		changes_stock => $op eq 'return',
		record        => {
			op    => $op,
			oid   => $order->{oid},
			rid   => $order->{rid},
			key   => $option{key},
			lines => $option{lines}
		},
		judge => sub {
			my ($answer, $request) = @_;
			my $row = $answer->{rows}[0];

			$request->{record}{status} = "$row->[2] $row->[3]" if $row;
			return $self->expect($request, $answer, '00000', 'IV008',
				@{ $option{codes} || [] })
			  if !$own;
			my ($code, $change) = $option{move}->();
			$self->expect($request, $answer, $code);
			return if $code ne '00000';
			$change->();
			$self->fails($request, $answer,
				"the order should be $order->{status} $order->{pay}")
			  if $row->[2] ne $order->{status}
			  || $row->[3] ne $order->{pay}
			  || $row->[1] ne $order->{rid};
		}
	};
}

sub ask_cancel_order
{
	my ($self, $intent, $own) = @_;
	my $order = $self->pick_order($intent->[2], $own) or return;
	my $key = $intent->[6] < 0.5 ? $self->new_name : undef;

	return $self->order_request(
		$order, $own,
		'cancel_order',
		'inv_cancel_order(?::uuid, key => ?)',
		[$key],
		key  => $key,
		move => sub {
			return 'IV008' if $order->{status} eq 'completed';
			return (
				'00000',
				sub {
					return if $order->{status} eq 'cancelled';
					$order->{status} = 'cancelled';
					foreach my $sku (keys %{ $order->{lines} })
					{
						my $line = $order->{lines}{$sku};
						$self->{books}{sku}{$sku}{on_hand} +=
						  $line->[0] - $line->[1];
						$line->[1] = $line->[0];
					}
				});
		});
}

sub ask_return_units
{
	my ($self, $intent, $own) = @_;
	my $order = $self->pick_order($intent->[2], $own) or return;
	my @skus = sort keys %{ $order->{lines} };
	return if !@skus;
	my $sku = $skus[ $intent->[7] * @skus ];
	my $units = units($intent->[3]);
	my $key = $self->new_name;

	return $self->order_request(
		$order, $own, 'return',
		'inv_return(?::uuid, ?, ?::bigint, key => ?)',
		[ $sku, $units, $key ],
		key   => $key,
		lines => "$sku:$units",
		codes => ['22023'],
		move  => sub {
			my $line = $order->{lines}{$sku};
			return 'IV008' if $order->{status} eq 'cancelled';
			return '22023' if $units > $line->[0] - $line->[1];
			return (
				'00000',
				sub {
					$line->[1] += $units;
					$self->{books}{sku}{$sku}{on_hand} += $units;
				});
		});
}

sub ask_complete_order
{
	my ($self, $intent, $own) = @_;
	my $order = $self->pick_order($intent->[2], $own) or return;

	return $self->order_request(
		$order, $own,
		'complete_order',
		'inv_complete_order(?::uuid)',
		[],
		move => sub {
			return 'IV008' if $order->{status} eq 'cancelled';
			return ('00000', sub { $order->{status} = 'completed' });
		});
}

my %payment_moves = (
	pending  => { pending  => 1, paid     => 1, failed => 1 },
	paid     => { paid     => 1, refunded => 1 },
	failed   => { failed   => 1, paid     => 1 },
	refunded => { refunded => 1 });

sub ask_record_payment
{
	my ($self, $intent, $own) = @_;
	my $order = $self->pick_order($intent->[2], $own) or return;
	my $status = (qw(paid paid failed refunded pending))[ $intent->[5] * 5 ];

	return $self->order_request(
		$order, $own,
		'record_payment',
		'inv_record_payment(?::uuid, ?)',
		[$status],
		move => sub {
			return 'IV008' if !$payment_moves{ $order->{pay} }{$status};
			return ('00000', sub { $order->{pay} = $status });
		});
}

sub ask_order_status
{
	my ($self, $intent, $own) = @_;
	my $order = $self->pick_order($intent->[2], $own) or return;

	my $request = $self->order_request(
		$order, $own,
		'order_status',
		'inv_order_status(?::uuid)',
		[],
		move => sub {
			return ('00000', sub { });
		});
	return $request;
}

#
# Stock
#

sub ask_available
{
	my ($self, $intent, $own) = @_;

	return $self->available_request($self->pick_sku($intent->[2], $own),
		$own);
}

sub available_request
{
	my ($self, $sku, $own) = @_;

	return {
		sql        => 'SELECT inv_available(?, ?)',
		arguments  => [ $sku, location_of($sku) ],
		own        => $own,
		repeatable => 1,
		record     => { op => 'available', lines => "$sku:0" },
		judge      => sub {
			my ($answer, $request) = @_;
			$self->expect($request, $answer, '00000');
			my $available = $request->{record}{available} =
			  $answer->{rows}[0][0];
			$self->fails($request, $answer, 'negative') if $available < 0;
			return                                      if !$own;
			my ($least, $most) =
			  $self->{books}->available($sku, @$request{qw(last_asked told)});
			$self->fails($request, $answer,
				"between $least and $most are available")
			  if $available < $least || $available > ($most > 0 ? $most : 0);
		}
	};
}

# A change of stock: the answer is the stock as it is afterwards.
sub stock_request
{
	my ($self, $own, $sku, $op, $sql, $arguments, %option) = @_;

	return {
		sql =>
		  "SELECT on_hand, reserved, available, version, $option{replayed} FROM $sql",
		arguments  => $arguments,
		own        => $own,
		repeatable => $option{repeatable},
		find       => $option{find},
		record     => {
			op       => $op,
			key      => $option{key},
			customer => $option{name},
			lines    => "$sku:$option{delta}"
		},
		judge => sub {
			my ($answer, $request) = @_;
			my $row = $answer->{rows}[0];
			my $books = $self->{books};
			my $stock = $own && $books->{sku}{$sku};

			return $self->expect($request, $answer, '00000',
				$option{delta} < 0 ? 'IV012' : ())
			  if !$own;
			return $self->expect($request, $answer, 'IV008')
			  if $option{wrong_version};
			my $delta = $option{delta};
			my ($least, $most) =
			  $books->available_to_buyer($sku, $request->{last_asked},
				$request->{told});
			# safety stock is kept from buyers, not from the shop
			$_ += $stock->{safety} foreach $least, $most;

			if ($option{force})
			{
				$self->expect($request, $answer, '00000',
					$self->cart_in_the_way($sku) ? 'IV012' : ());
			}
			elsif ($delta < 0 && !$request->{repeated})
			{
				$self->expect($request, $answer,
					  -$delta <= $least ? '00000'
					: -$delta > $most   ? 'IV012'
					:                     ('00000', 'IV012'));
			}
			$self->expect($request, $answer, '00000') if $delta >= 0;
			return if $answer->{code} ne '00000';
			$self->judge_forced($answer, $request, $sku, -$delta, $least)
			  if $option{force} && $delta < 0;
			$stock->{on_hand} += $delta;
			$stock->{safety} = $option{safety} if defined $option{safety};
			$stock->{version}++ if !$option{leaves_it};
			($least, $most) = $books->available($sku, $request->{last_asked},
				$request->{told});
			$self->fails($request, $answer,
				"there should be $stock->{on_hand}, $least to $most available, version $stock->{version}"
			  )
			  if $row->[0] != $stock->{on_hand}
			  || $row->[2] < ($least > 0 ? $least : 0)
			  || $row->[2] > ($most > 0 ? $most : 0)
			  || $row->[3] != $stock->{version};
		}
	};
}

sub ask_receive
{
	my ($self, $intent, $own) = @_;
	my $sku = $self->pick_sku($intent->[2], $own);
	my $units = 1 + int($intent->[3] * 6);

	return if $own && $self->{books}{sku}{$sku}{on_hand} > 60;
	return $self->change_request($own, $sku, 'receive', $units, $intent);
}

sub ask_adjust
{
	my ($self, $intent, $own) = @_;
	my $sku = $self->pick_sku($intent->[2], $own);
	my $units = int($intent->[3] * 9) - 5;

	return $self->change_request($own, $sku, 'adjust', $units || 1, $intent);
}

sub change_request
{
	my ($self, $own, $sku, $op, $units, $intent) = @_;
	my $name = $self->new_name;
	my $key = $intent->[6] < 0.7 ? $name : undef;
	my $call = "inv_$op(?, ?::bigint, ?, ?, ?)";
	my @arguments = ($sku, $units, location_of($sku), $name, $key);

	# Of what is everybody's, a note goes with it, in the same transaction, for
	# those who look at snapshots.
	$call = "noted CROSS JOIN LATERAL $call AS stock" if !$own;
	my $request = $self->stock_request(
		$own, $sku, $op, $call,
		\@arguments,
		replayed   => 'replayed',
		repeatable => defined $key,
		key        => $key,
		name       => $name,
		delta      => $units,
		find       => sub {
			return $self->{session}->value(
				"SELECT count(*) FROM inv_ledger WHERE operation = '$op' AND reason = ?",
				$name);
		});
	$request->{changes_stock} = defined $key;
	if (!$own)
	{
		$request->{sql} =
			'WITH noted AS (INSERT INTO sim.brought VALUES (?, ?, ?::bigint)'
		  . ' ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING 1 AS one) '
		  . $request->{sql};
		unshift @{ $request->{arguments} }, $name, $sku, $units;
	}
	else
	{
		$request->{books_after} = sub {
			my $books = $self->{books}->copy;
			$books->{sku}{$sku}{on_hand} += $units;
			$books->{sku}{$sku}{version}++;
			return $books;
		};
	}
	return $request;
}

# A delivery, a correction or a return once more with its key, as somebody does
# who has not heard the answer: he gets one, and nothing happens.
sub ask_change_again
{
	my ($self, $intent, $own, $inside) = @_;
	my $changes = $self->{changes};
	return if $inside || !@$changes;
	my $first = $changes->[ $intent->[2] * @$changes ];
	my ($sku) = split /:/, $first->{record}{lines};

	return {
		%$first,
		repeatable => 1,
		repeated   => 0,
		record     => {
			op    => "repeat_$first->{record}{op}",
			lines => "$sku:0",
			map { $_ => $first->{record}{$_} } qw(oid rid key)
		},
		changes_stock => 0,
		judge         => sub {
			my ($answer, $request) = @_;

			$self->expect($request, $answer, '00000');
			return if !$first->{own};
			my $right = $self->{books}{sku}{$sku}{on_hand};
			my $found = $self->on_hand($sku);
			$self->fails($request, $answer,
				"$found are on hand afterwards, and $right should be")
			  if $found != $right;
		}
	};
}

# What the tables say.
sub on_hand
{
	my ($self, $sku) = @_;

	return $self->{session}->value(
		'SELECT sum(on_hand) FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = ?',
		$sku);
}

# A stock-take.  Only of one's own SKUs: what it changes by depends on what was
# there, and of the others' nobody knows that.
sub ask_set_stock
{
	my ($self, $intent, $own, $inside) = @_;
	my $sku = $self->pick_sku($intent->[2], 1);
	my $stock = $self->{books}{sku}{$sku};
	my $count = int($intent->[3] * 25);
	my $version =
		$intent->[6] < 0.3 ? $stock->{version}
	  : $intent->[6] < 0.4 ? $stock->{version} - 1
	  :                      undef;
	my $name = $self->new_name;
	my $force = !$inside && $intent->[7] < 0.4;
	my ($sql, @arguments) = (
		'inv_set_stock(?, ?::bigint, ?, ?::bigint, ?, force => ?)',
		$sku, $count, location_of($sku), $version, $name, $force ? 't' : 'f');

	if ($intent->[5] < 0.3 && !defined $version && !$force)
	{
		($sql, @arguments) = (
			'inv_load_stock(ARRAY[?], ARRAY[?::bigint], ?, ?)',
			$sku, $count, location_of($sku), $name);
	}
	my $delta = $count - $stock->{on_hand};
	# a load does not touch what is as it was counted
	my $leaves_it = $sql =~ /load/ && $delta == 0;
	my $request = $self->stock_request(
		1, $sku,
		'set_stock',
		$sql,
		\@arguments,
		replayed      => 'NULL',
		delta         => $delta,
		name          => $name,
		force         => $force,
		leaves_it     => $leaves_it,
		wrong_version => defined $version && $version != $stock->{version},
		find          => sub {
			return $self->{session}->value(
				"SELECT count(*) FROM inv_ledger WHERE operation IN ('set_stock', 'load_stock') AND reason = ?",
				$name);
		});
	$request->{books_after} = sub {
		my $books = $self->{books};
		$books->{sku}{$sku}{on_hand} += $delta;
		$books->{sku}{$sku}{version}++ if !$leaves_it;
		$self->note_forced($request, $sku) if $force;
		return $books;
	};
	return $request;
}

# A stock-take by force has cancelled holds.  Which, is in the tables; that they
# were the newest, and no more than necessary, is for us to say.  Returns those
# cancelled, the oldest first.
sub note_forced
{
	my ($self, $request, $sku) = @_;
	my $holds = $self->{books}{hold};
	my @held =
	  grep { $holds->{$_}{state} eq 'active' && $holds->{$_}{lines}{$sku} }
	  keys %$holds;
	my %status = map { $_->[0] => $_->[1] } $self->sure_rows(
		'SELECT reservation_id, status FROM inv_reservation WHERE line_no = 1'
		  . ' AND reservation_id = ANY (?::uuid[])',
		\@held);
	my @cancelled = sort { $holds->{$a}{created} <=> $holds->{$b}{created} }
	  grep { ($status{$_} || '') eq 'cancelled' } @held;

	foreach my $rid (@cancelled)
	{
		$holds->{$rid}{state} = 'cancelled';
		push @{ $self->{pending} },
		  {
			op       => 'cancel',
			rid      => $rid,
			code     => '00000',
			status   => 'cancelled',
			replayed => 0,
			lines    => Simulator::Log::lines_text($holds->{$rid}{lines}),
			asked    => $request->{asked},
			told     => $request->{told}
		  };
	}
	return map { $holds->{$_} } @cancelled;
}

# "There" is what could be taken off without force, for certain.
sub judge_forced
{
	my ($self, $answer, $request, $sku, $wanted, $there) = @_;
	my @cancelled = $self->note_forced($request, $sku);
	my ($freed, $carts) = (0, 0);

	foreach my $hold (values %{ $self->{books}{hold} })
	{
		next       if !$hold->{lines}{$sku};
		$carts = 1 if keys %{ $hold->{lines} } > 1;
		$self->fails($request, $answer,
			"by force, but $hold->{rid} is newer than a hold that was cancelled"
		  )
		  if @cancelled
		  && Simulator::Books::state_of($hold, @$request{qw(asked told)}) eq
		  'live'
		  && $hold->{created} > $cancelled[0]{created}
		  && !($self->{profile}{sweeps} && keys %{ $hold->{lines} } > 1);
	}
	return if !@cancelled;
	$freed += $_->{lines}{$sku} foreach @cancelled;
	# Holds of one batch are of the same moment: any of them may have been last.
	my ($last) = sort { $b <=> $a } map { $_->{lines}{$sku} }
	  grep { $_->{created} - $cancelled[0]{created} < 1e-5 } @cancelled;
	$self->fails($request, $answer,
		"by force: more holds were cancelled than had to be")
	  if $there + $freed - $last >= $wanted
	  && !($carts && $self->{profile}{sweeps});
	return;
}

# May somebody have a cart locked that is in the way of a forced stock-take?
sub cart_in_the_way
{
	my ($self, $sku) = @_;

	return $self->{profile}{sweeps}
	  && grep { $_->{lines}{$sku} && keys %{ $_->{lines} } > 1 }
	  values %{ $self->{books}{hold} };
}

sub plain_request
{
	my ($self, $op, $sql, $arguments, %option) = @_;

	return {
		sql        => $sql,
		arguments  => $arguments,
		repeatable => 1,
		record     => { op => $op, lines => $option{lines} },
		judge      => sub {
			my ($answer, $request) = @_;
			$self->expect($request, $answer, '00000',
				@{ $option{codes} || [] });
			$option{judge}->($answer, $request)
			  if $option{judge} && $answer->{code} eq '00000';
		}
	};
}

sub ask_set_stripes
{
	my ($self, $intent, $own) = @_;
	my $sku = $self->pick_sku($intent->[2], $own);
	my $stripes = 1 + int($intent->[3] * $intent->[3] * 12);

	# see Client::overtake; and backorders are one queue
	return if $sku =~ /-ONE$|^OWED/;

	return $self->plain_request(
		'set_stripes', 'SELECT inv_set_stripes(?, ?::integer, ?)',
		[ $sku, $stripes, location_of($sku) ],
		lines => "$sku:0",
		judge => sub { $self->{books}{sku}{$sku}{striped} = 1 if $own });
}

# On sale or not; another price.
# Safety stock, another than before, of SKUs in one row: what comes back to one
# of several stripes may be sold while others are short of it.  Without
# backorders: where there are any, nobody can say when there is too little.
sub ask_set_policy
{
	my ($self, $intent) = @_;
	my $sku = $self->pick_sku($intent->[2], 1);
	my $safety = int($intent->[3] * 12);
	my $request;

	return if $self->{books}{sku}{$sku}{striped};

	$safety++ if $safety == $self->{books}{sku}{$sku}{safety};
	$request = $self->stock_request(
		1, $sku,
		'set_policy',
		'inv_set_policy(?, ?::bigint, 0, ?)',
		[ $sku, $safety, location_of($sku) ],
		replayed => 'replayed',
		delta    => 0,
		safety   => $safety,
		find     => sub {
			return $self->{session}->value(
				'SELECT (sum(min_available) = ?::bigint)::integer FROM inv_stock JOIN inv_item USING (item_id) WHERE sku = ?',
				$safety, $sku);
		});
	$request->{books_after} = sub {
		my $books = $self->{books}->copy;
		$books->{sku}{$sku}{safety} = $safety;
		$books->{sku}{$sku}{version}++;
		return $books;
	};
	return $request;
}

sub ask_selling
{
	my ($self, $intent, $own) = @_;
	my $sku = $self->pick_sku($intent->[2], 1);
	my $stock = $self->{books}{sku}{$sku};
	my $selling = $intent->[5] < 0.5 && $stock->{selling} ? 0 : 1;
	my $price = 1 + int($intent->[3] * 9);

	return $self->plain_request(
		'set_item',
		'SELECT inv_set_item(?, selling => ?::boolean, unit_price => ?::numeric)',
		[ $sku, $selling ? 't' : 'f', $price ],
		lines => "$sku:0",
		judge => sub {
			@{ $self->{books}{sku}{$sku} }{qw(selling price)} =
			  ($selling, $price);
		});
}

#
# The rest
#

sub ask_upkeep
{
	my ($self, $intent, $own, $inside) = @_;
	my $profile = $self->{profile};
	my $die = $intent->[5];

	return if $inside;
	return $self->plain_request(
		'check',
		'SELECT * FROM inv_check()',
		[],
		judge => sub {
			$self->fails($_[1], $_[0], 'the books are wrong')
			  if @{ $_[0]{rows} };
		}) if $die < 0.03;
	return $self->plain_request(
		'reconcile',
		'SELECT * FROM inv_reconcile(?::boolean)',
		[ $intent->[3] < 0.5 ? 't' : 'f' ],
		codes => ['55P03'],
		judge => sub {
			$self->fails($_[1], $_[0], 'something does not fit')
			  if @{ $_[0]{rows} };
		}) if $die < 0.06;
	return $self->plain_request('events',
		'SELECT count(*) FROM inv_events(max_count => 100)', [])
	  if $die < 0.2;
	return $self->plain_request('newest_event', 'SELECT inv_newest_event()',
		[])
	  if $die < 0.3;
	return $self->plain_request(
		'availability',
		'SELECT available FROM inv_availability WHERE sku = ?',
		[ $self->pick_sku($intent->[2], 0) ]) if $die < 0.4;
	return $self->plain_request('stat',
		'SELECT oldest_dead_hold_age FROM inv_stat', [])
	  if $die < 0.45;
	return $self->plain_request('stat_reset',
		'SELECT inv_stat_reset(), inv_version(), inv_library_version()', [])
	  if $die < 0.5;
	return if !$profile->{sweeps};
	return $self->plain_request(
		'expire',
		'SELECT inv_expire(?::bigint)',
		[ 1 + int($intent->[3] * 20) ]) if $die < 0.85;
	return $self->plain_request('maintain', 'CALL inv_maintain()', [])
	  if $die < 0.92;
	return if !$profile->{purges};
	return $self->plain_request(
		'purge',
		'SELECT inv_purge(?::interval)',
		[ $intent->[3] < 0.5 ? '4 seconds' : undef ]);
}

sub ask_catalogue
{
	my ($self, $intent, $own, $inside) = @_;
	my $sku = $self->new_name;

	return $self->route_request($intent) if $intent->[7] < 0.3;
	# every session has to look the tables up again
	return $self->plain_request('grant', 'SELECT inv_grant(?, ?)',
		[ 'pg_monitor', (qw(buyer operator auditor))[ $intent->[3] * 3 ] ])
	  if $intent->[7] < 0.5;

	return $self->plain_request(
		'load_stock',
		'SELECT on_hand FROM inv_load_stock(ARRAY[?, ?], ARRAY[1, 2])',
		[ "$sku-a", "$sku-b" ]) if $intent->[5] < 0.3 && !$inside;
	my $request;
	if ($intent->[5] < 0.6 && $self->{added} && !$inside)
	{
		# it may not be there: the one who added it was rolled back
		$request = $self->plain_request(
			'rename_item',
			'SELECT inv_rename_item(?, ?)',
			[ $self->{added}, $sku ],
			codes => ['IV004']);
		$self->{added} = undef;
	}
	else
	{
		$request =
		  $self->plain_request('add_item', 'SELECT inv_add_item(?)', [$sku]);
		$self->{added} = $sku;
	}
	$request->{repeatable} = 0;
	return $request;
}

# A hold is to be found where its first line's SKU is, released or not.
sub route_request
{
	my ($self, $intent) = @_;
	my $hold = $self->pick_hold($intent->[2], 1);
	my @skus = $hold ? keys %{ $hold->{prices} } : ();

	return $self->plain_request('route', 'SELECT inv_route_sku(?)',
		[ $self->pick_sku($intent->[2], 0) ])
	  if @skus != 1;
	return $self->plain_request(
		'route',
		'SELECT inv_route_id(?::uuid) = inv_route_sku(?)',
		[ $hold->{rid}, $skus[0] ],
		judge => sub {
			$self->fails($_[1], $_[0], 'not the bucket of its SKU')
			  if !$_[0]{rows}[0][0];
		});
}

1;
