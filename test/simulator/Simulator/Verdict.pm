# The end of an episode: what the clients have written down against what is in
# the tables.
#
# Every hold has a customer of its own, the name of the call that wanted it.  So
# each row that is there must have been made by one call, and each call that was
# committed must have made its rows, once: no more, no less, with these units.
# It is not asked what the extension says about itself, except by inv_check().
package Simulator::Verdict;

use strict;
use warnings;

use Simulator::Log;
use Simulator::Queue;
use Simulator::SoldOut;

use constant BLUR  => 0.002;
use constant NEVER => Simulator::SoldOut::NEVER;

# Options: session, profile, records.  Returns what is wrong, a list of hashes:
# text, and what it is about.
sub new
{
	my ($class, %option) = @_;

	return bless { wrong => [], judged => {}, checked => {}, %option },
	  $class;
}

sub wrong
{
	my ($self, $text, %about) = @_;

	push @{ $self->{wrong} }, { text => $text, %about };
	return;
}

sub query
{
	my ($self, $sql, @arguments) = @_;
	my $answer = $self->{session}->ask($sql, @arguments);

	die "$sql: $answer->{message}\n" if $answer->{code} ne '00000';
	return @{ $answer->{rows} };
}

sub judge
{
	my ($self) = @_;

	foreach my $row (
		$self->query(
			'SELECT violation, sku, stripe, reservation_id, order_id, found, expected FROM inv_check()'
		))
	{
		$self->wrong(
			'inv_check(): ' . join(' ', map { defined $_ ? $_ : '-' } @$row),
			sku => $row->[1],
			rid => $row->[3],
			oid => $row->[4]);
	}
	foreach my $row (
		$self->query(
			'SELECT finding, sku, stripe, reservation_id, order_id, found, expected FROM inv_reconcile(complete => true)'
		))
	{
		$self->wrong(
			'inv_reconcile(): '
			  . join(' ', map { defined $_ ? $_ : '-' } @$row),
			sku => $row->[1],
			rid => $row->[3],
			oid => $row->[4]);
	}
	$self->read_tables;
	$self->sort_records;
	$self->judge_holds;
	$self->judge_orders;
	$self->judge_calls;
	$self->judge_stock;
	$self->judge_snapshots if !$self->{profile}{purges};
	$self->judge_queues    if !$self->{profile}{purges};
	$self->judge_refusals;
	return $self->{wrong};
}

# What is there: {hold}{rid} has customer, expires, created and {lines}{sku}; {order}{oid}.
sub read_tables
{
	my ($self) = @_;

	foreach my $row ($self->query(<<'SQL'))
SELECT line.reservation_id, line.customer, item.sku, line.quantity, line.returned, line.status,
	   extract(epoch FROM line.expires_at), extract(epoch FROM line.created_at),
	   extract(epoch FROM line.closed_at), line.unit_price, line.line_no
  FROM inv_reservation AS line JOIN inv_item AS item USING (item_id)
 WHERE line.customer <> 'latecomer'
SQL
	{
		my ($rid, $customer, $sku, $units, $returned,
			$status, $expires, $created, $closed, $price) = @$row;
		my $hold = $self->{hold}{$rid} ||= {
			rid      => $rid,
			customer => $customer,
			expires  => $expires,
			created  => $created
		};
		$self->wrong("two lines of $sku in hold $rid", rid => $rid)
		  if $hold->{lines}{$sku};
		$hold->{lines}{$sku} = {
			units    => $units,
			returned => $returned,
			status   => $status,
			closed   => $closed,
			price    => $price
		};
		$hold->{status}{$status} = 1;
		$self->{of_customer}{$customer}{$rid} = 1;
	}
	foreach my $row (
		$self->query(
			'SELECT order_id, reservation_id, customer, status, payment_status, total FROM inv_order'
		))
	{
		my %order;
		@order{qw(oid rid customer status pay total)} = @$row;
		$self->{order}{ $order{oid} } = \%order;
		$self->{order_of}{ $order{rid} } = \%order;
	}
	return;
}

# The records of each hold and order, in the order in which they were asked.
sub sort_records
{
	my ($self) = @_;

	foreach my $record (@{ $self->{records} })
	{
		push @{ $self->{about}{ $record->{rid} } }, $record
		  if $record->{rid} ne '';
		push @{ $self->{about_order}{ $record->{oid} } }, $record
		  if $record->{oid} ne '';
		if (   $record->{op} =~ /reserve/
			&& $record->{op} !~ /^repeat/
			&& $record->{fate} eq 'c')
		{
			push @{ $self->{made_by}{ $record->{customer} } }, $record;
		}
	}
	return;
}

sub committed
{
	my ($self, $rid, @ops) = @_;
	my %wanted = map { $_ => 1 } @ops;

	return
	  grep { $_->{fate} eq 'c' && $wanted{ $_->{op} } }
	  @{ $self->{about}{$rid} || [] };
}

# Each hold that is there, and each that should be.
sub judge_holds
{
	my ($self) = @_;

	foreach my $rid (sort keys %{ $self->{hold} })
	{
		my $hold = $self->{hold}{$rid};
		my @about = (rid => $rid, customer => $hold->{customer});
		my @makers = grep { $_->{rid} eq $rid }
		  @{ $self->{made_by}{ $hold->{customer} } || [] };

		$self->{checked}{holds}++;
		$self->wrong("hold $rid is there, and nobody was told so", @about)
		  if !@makers;
		$self->wrong("more than one hold of $hold->{customer}", @about)
		  if keys %{ $self->{of_customer}{ $hold->{customer} } } > 1;
		next if !@makers;
		$hold->{maker} = $makers[0];

		my %released;
		my ($ended, $cancelled) = (0);
		foreach my $record ($self->committed($rid, 'release'))
		{
			if ($record->{status} eq 'cancelled')
			{
				$cancelled = $record;
				next;
			}
			my $lines = Simulator::Log::lines_hash($record->{lines});
			$released{$_} += $lines->{$_} foreach keys %$lines;
		}
		foreach my $record ($self->committed($rid, 'cancel'))
		{
			$cancelled = $record if $record->{status} eq 'cancelled';
			$ended = $record     if $record->{status} eq 'expired';
		}
		my ($confirmed) = $self->committed($rid, 'confirm');
		my $retaken = $self->may_be_retaken($rid);
		my $lines = Simulator::Log::lines_hash($makers[0]{lines});
		foreach my $sku (sort keys %{ { %$lines, %{ $hold->{lines} } } })
		{
			my $should = ($lines->{$sku} || 0) - ($released{$sku} || 0);
			my $line = $hold->{lines}{$sku};
			$self->wrong(
				($line ? $line->{units} : 'no line')
				. " of $sku, $should should be",
				@about,
				sku => $sku) if !$line || $line->{units} != $should;
		}

		my @statuses = sort keys %{ $hold->{status} };
		my $status = $hold->{status}{expired} ? 'expired' : $statuses[0];
		my $should =
			$confirmed ? 'confirmed'
		  : $cancelled ? 'cancelled'
		  : $ended     ? 'expired'
		  :              'active or expired';
		$self->wrong("it is $status, and should be $should", @about)
		  if $should !~ /$status/;
		$self->wrong("it was confirmed and cancelled", @about)
		  if $confirmed && ($cancelled || $ended && !$retaken);
		foreach my $sku (sort keys %{ $hold->{lines} })
		{
			my $line = $hold->{lines}{$sku};
			$self->wrong("expired before its time", @about)
			  if $line->{status} eq 'expired'
			  && $line->{closed} < $hold->{expires};
			$self->wrong("$line->{status} after its death", @about)
			  if $line->{status} =~ /^(?:confirmed|cancelled)$/
			  && $line->{closed} >= $hold->{expires}
			  && !($line->{status} eq 'confirmed' && $retaken);
		}
		$self->wrong('confirmed, and there is no order', @about)
		  if $status eq 'confirmed' && !$self->{order_of}{$rid};
	}

	foreach my $customer (sort keys %{ $self->{made_by} })
	{
		foreach my $record (@{ $self->{made_by}{$customer} })
		{
			next if $record->{rid} eq '' || $self->{hold}{ $record->{rid} };
			# a purge takes what is closed, and what died long ago, but for keys
			next if $self->{profile}{purges} && $record->{key} eq '';
			$self->wrong(
				"hold $record->{rid} of $customer is missing",
				rid      => $record->{rid},
				customer => $customer);
		}
	}
	return;
}

# Has somebody asked for it to be sold after its death, too, and was it sold?
sub may_be_retaken
{
	my ($self, $rid) = @_;

	return $self->{order_of}{$rid}
	  && grep { $_->{op} eq 'confirm' && $_->{retake} }
	  @{ $self->{about}{$rid} || [] };
}

sub judge_orders
{
	my ($self) = @_;

	foreach my $oid (sort keys %{ $self->{order} })
	{
		my $order = $self->{order}{$oid};
		my $hold = $self->{hold}{ $order->{rid} };
		my @about = (oid => $oid, rid => $order->{rid});
		my @confirms = $self->committed($order->{rid}, 'confirm');

		$self->{checked}{orders}++;
		$self->wrong("order $oid is there, and nobody was told so", @about)
		  if !@confirms;
		$self->wrong("somebody was told of another order than $oid", @about)
		  if grep { $_->{oid} ne $oid } @confirms;
		next if !$hold;
		my %returned;
		my $cancelled = 0;

		foreach my $record (grep { $_->{fate} eq 'c' }
			@{ $self->{about_order}{$oid} || [] })
		{
			$cancelled = 1 if $record->{op} eq 'cancel_order';
			next           if $record->{op} ne 'return';
			my $lines = Simulator::Log::lines_hash($record->{lines});
			$returned{$_} += $lines->{$_} foreach keys %$lines;
		}
		my $total = 0;
		foreach my $sku (sort keys %{ $hold->{lines} })
		{
			my $line = $hold->{lines}{$sku};
			my $should = $cancelled ? $line->{units} : $returned{$sku} || 0;
			$total += $line->{units} * $line->{price};
			$self->wrong(
				"$line->{returned} of $sku have come back, and $should should have",
				@about,
				sku => $sku) if $line->{returned} != $should;
		}
		$self->wrong("order $oid is $order->{status}", @about)
		  if $cancelled != ($order->{status} eq 'cancelled' ? 1 : 0);
		$self->wrong(
			"order $oid costs $order->{total}, and should cost $total",
			@about)
		  if $order->{total} != $total;
	}
	foreach my $record (@{ $self->{records} })
	{
		$self->wrong(
			"order $record->{oid} is missing",
			oid => $record->{oid},
			rid => $record->{rid})
		  if $record->{op} eq 'confirm'
		  && $record->{fate} eq 'c'
		  && !$self->{order}{ $record->{oid} };
	}
	return;
}

# Answers that cannot have been right, whatever the order of events.
sub judge_calls
{
	my ($self) = @_;

	foreach my $rid (sort keys %{ $self->{about} })
	{
		my $hold = $self->{hold}{$rid} or next;
		my @records = @{ $self->{about}{$rid} };
		my $maker = $hold->{maker} or next;

		$self->judge_status($_, $hold, \@records)
		  foreach grep { $_->{op} eq 'status' && $_->{code} eq '00000' }
		  @records;
		foreach my $record (@records)
		{
			next if $record->{op} !~ /^(?:confirm|extend|release)$/;
			# it is extended at most as far as anybody was told in time
			my $dies = $maker->{expires};
			foreach my $other (@records)
			{
				# whose answer got lost may have been heard all the same
				my $until =
					$other->{code} eq 'lost'
				  ? $hold->{expires}
				  : $other->{expires};
				$dies = $until
				  if $other->{op} eq 'extend'
				  && $other != $record
				  && $until ne ''
				  && $other->{asked} < $record->{told}
				  && $until > $dies;
			}
			if (   $record->{code} eq '00000'
				&& $record->{asked} > $dies + BLUR
				&& !$record->{replayed}
				&& !$record->{retake}
				&& !($record->{op} eq 'extend' && $record->{key} ne ''))
			{
				$self->{checked}{deaths}++;
				$self->wrong(
					sprintf(
						'%s asked at %.6f of a hold that had died at %.6f',
						$record->{op}, $record->{asked}, $dies),
					rid => $rid);
			}
			if ($record->{code} eq 'IV002')
			{
				my $lives = $maker->{expires};
				foreach my $other (@records)
				{
					$lives = $other->{expires}
					  if $other->{op} eq 'extend'
					  && $other->{fate} eq 'c'
					  && $other->{settled} < $record->{asked}
					  && $other->{expires} > $lives;
				}
				$self->{checked}{deaths}++;
				$self->wrong(
					sprintf(
						'%s was told at %.6f that it had died, and it lived until %.6f',
						$record->{op}, $record->{told}, $lives),
					rid => $rid) if $record->{told} < $lives - BLUR;
			}
		}
	}
	return;
}

# A status that somebody was told: what is over stays over, and nothing is before
# it was asked for.
sub judge_status
{
	my ($self, $record, $hold, $records) = @_;
	my ($status, $began, $told) = @$record{qw(status began told)};
	my %ops = (confirmed => 'confirm', cancelled => 'cancel|release');
	my $ended;
	my $asked_for = 0;

	foreach my $other (@$records)
	{
		if ($other->{fate} eq 'c' && $other->{settled} < $began)
		{
			$ended = 'confirmed' if $other->{op} eq 'confirm';
			$ended = $other->{status}
			  if $other->{op} =~ /^(?:cancel|release)$/
			  && $other->{status} =~ /^(?:cancelled|expired)$/;
		}
		$asked_for = 1
		  if $ops{$status}
		  && $other->{op} =~ /^(?:$ops{$status})$/
		  && $other->{asked} < $told;
	}
	$self->{checked}{statuses}++;
	$self->wrong("status $status, though it was $ended before",
		rid => $record->{rid})
	  if defined $ended
	  && $status ne $ended
	  && !( $ended eq 'expired'
		&& $status eq 'confirmed'
		&& $self->may_be_retaken($record->{rid}));
	$self->wrong("status $status, and nobody has asked for that",
		rid => $record->{rid})
	  if $ops{$status} && !$asked_for;
	$self->wrong(
		sprintf(
			'status active, asked at %.6f of a hold that died at %.6f',
			$record->{asked}, $hold->{expires}),
		rid => $record->{rid}
	) if $status eq 'active' && $record->{asked} > $hold->{expires} + BLUR;
	$self->wrong(
		sprintf(
			'status expired, told at %.6f of a hold that died at %.6f',
			$told, $hold->{maker}{expires}),
		rid => $record->{rid}
	) if $status eq 'expired' && $told < $hold->{maker}{expires} - BLUR;
	return;
}

# What is on hand is what has come, and not been sold.
sub judge_stock
{
	my ($self) = @_;
	my %should =
	  map { $_->{sku} => $_->{units} } @{ $self->{profile}{shared} };

	foreach my $record (
		grep { $_->{fate} eq 'c' && $_->{op} =~ /^(?:receive|adjust)$/ }
		@{ $self->{records} })
	{
		my ($sku, $units) = $record->{lines} =~ /^(.*):(-?\d+)$/;
		$should{$sku} += $units if exists $should{$sku};
	}
	foreach my $order (values %{ $self->{order} })
	{
		my $hold = $self->{hold}{ $order->{rid} } or next;
		foreach my $sku (keys %{ $hold->{lines} })
		{
			$should{$sku} -=
			  $hold->{lines}{$sku}{units} - $hold->{lines}{$sku}{returned}
			  if exists $should{$sku};
		}
	}
	foreach my $row (
		$self->query(
			'SELECT sku, sum(on_hand - least(min_available, 0)) FROM inv_stock JOIN inv_item USING (item_id) GROUP BY sku'
		))
	{
		my ($sku, $on_hand) = @$row;
		next if !exists $should{$sku};
		$self->{checked}{stock}++;
		$self->wrong(
			"$on_hand of $sku are on hand, and $should{$sku} should be",
			sku => $sku)
		  if $on_hand != $should{$sku};
	}
	return;
}

# Who was owed what, from the first entry of the ledger to the table, which says
# it now.
sub judge_queues
{
	my ($self) = @_;

	foreach my $sku (map { $_->{sku} } grep { $_->{backorders} }
		@{ $self->{profile}{shared} })
	{
		my ($wrong, $queue, $happened) = Simulator::Queue::replay(
			$self->query(
				"$Simulator::Queue::entries AND item.sku = '$sku' ORDER BY entry.entry_id"
			));
		my $should = join ' ', map { "$_->{hold}:$_->{units}" } @$queue;
		my ($found) = $self->query(<<"SQL");
SELECT coalesce(string_agg(format('%s:%s', owed.reservation_id, owed.quantity), ' ' ORDER BY owed.since, owed.reservation_id), '')
  FROM inv_backorder AS owed JOIN inv_item AS item USING (item_id) WHERE item.sku = '$sku'
SQL

		$self->wrong("the queue of $sku: $wrong", sku => $sku) if $wrong;
		$self->wrong("$found->[0] are owed $sku, and by the ledger $should",
			sku => $sku)
		  if !$wrong && $found->[0] ne $should;
		$self->{checked}{backorders} += $happened->{backorder} || 0;
		$self->{checked}{'backorders filled'} += $happened->{fill_backorder} || 0;
	}
	return;
}

# A transaction that sees one snapshot all the time must not have changed a stock
# row that others had changed since: that had to be 40001.  The entries of a row
# are numbered in the order in which it was changed.
sub judge_snapshots
{
	my ($self) = @_;

	foreach my $row ($self->query(<<'SQL'))
SELECT mark.mark, mark.isolation, item.sku, entry.operation, unseen.operation, entry.reservation_id
  FROM sim.mark
  JOIN inv_ledger AS entry ON entry.xid = mark.xid
  JOIN inv_item AS item USING (item_id)
 CROSS JOIN LATERAL
	   (SELECT other.operation
		  FROM inv_ledger AS other
		 WHERE other.epoch = entry.epoch AND other.item_id = entry.item_id AND other.location_id = entry.location_id
		   AND other.stripe = entry.stripe AND other.entry_id < entry.entry_id
		   AND other.xid >= pg_snapshot_xmin(mark.snapshot) AND other.xid <> mark.xid
		   AND other.operation NOT IN ('back_in_stock', 'out_of_stock')
		   AND NOT pg_visible_in_snapshot(other.xid, mark.snapshot)
		 LIMIT 1) AS unseen
 WHERE mark.isolation <> 'READ COMMITTED'
SQL
	{
		$self->wrong(
			"$row->[0], $row->[1]: $row->[3] of $row->[2] after a $row->[4] that its snapshot does not see",
			sku => $row->[2],
			rid => $row->[5]);
	}
	my ($count) = $self->query(
		q{SELECT count(*) FROM sim.mark WHERE isolation <> 'READ COMMITTED'});
	$self->{checked}{'transactions of one snapshot'} += $count->[0];
	return;
}

# SoldOut, fed with the records.
sub judge_refusals
{
	my ($self) = @_;
	my %judges;

	foreach my $shared (@{ $self->{profile}{shared} })
	{
		my $judge = $judges{ $shared->{sku} } =
		  Simulator::SoldOut->new($shared->{sku});
		$judge->came_in(0, 0, $shared->{units});
	}
	foreach my $record (@{ $self->{records} })
	{
		if ($record->{op} =~ /^(?:receive|adjust|return)$/)
		{
			my ($sku, $units) = $record->{lines} =~ /^(.*):(-?\d+)$/;
			my $judge = $judges{$sku} or next;
			if ($units > 0)
			{
				$judge->came_in($record->{asked}, $record->{settled}, $units)
				  if $record->{fate} eq 'c';
			}
			else
			{
				$judge->possibly_taken($record->{asked},
					$record->{fate} eq 'c' ? NEVER : $record->{settled},
					-$units);
				if ($record->{fate} eq 'c')
				{
					$judge->certainly_taken($record->{settled}, NEVER,
						-$units);
					$judge->seen_as_taken($record->{settled}, NEVER, -$units);
				}
			}
		}
		elsif ($record->{op} eq 'cancel_order' && $record->{fate} eq 'c')
		{
			$self->came_back($record, \%judges);
		}
		elsif ($record->{op} eq 'available' && $record->{code} eq '00000')
		{
			my ($sku) = $record->{lines} =~ /^(.*):/;
			$judges{$sku}->said(
				@$record{qw(began told available)}, $record,
				at_least => 1,
				at_most  => $record->{began} eq $record->{asked}
			) if $judges{$sku};
		}
		elsif ($record->{op} =~ /reserve/ && $record->{op} !~ /^repeat/)
		{
			$self->taken($record, \%judges);
		}
	}
	foreach my $sku (sort keys %judges)
	{
		my ($wrong, $judged) = $judges{$sku}->judge;
		$self->{judged}{$_} += $judged->{$_} foreach keys %$judged;
		$self->wrong(
			$_->[0],
			sku => $sku,
			$_->[1]
			? (customer => $_->[1]{customer}, at => $_->[1]{asked})
			: ()) foreach @$wrong;
	}
	return;
}

# An order was cancelled: all that had not been returned is back, when the first
# call for it was answered, and never before it was asked for.
sub came_back
{
	my ($self, $record, $judges) = @_;
	my $order = $self->{order}{ $record->{oid} } or return;
	my $hold = $self->{hold}{ $order->{rid} }    or return;

	return if $order->{came_back}++;
	my %left =
	  map { $_ => $hold->{lines}{$_}{units} } keys %{ $hold->{lines} };
	foreach my $return (grep { $_->{fate} eq 'c' && $_->{op} eq 'return' }
		@{ $self->{about_order}{ $record->{oid} } })
	{
		my ($sku, $units) = $return->{lines} =~ /^(.*):(\d+)$/;
		$left{$sku} -= $units;
	}
	my @all = grep { $_->{fate} eq 'c' && $_->{op} eq 'cancel_order' }
	  @{ $self->{about_order}{ $record->{oid} } };
	my ($asked, $settled) = (NEVER, NEVER);
	foreach my $cancel (@all)
	{
		$asked = $cancel->{asked}     if $cancel->{asked} < $asked;
		$settled = $cancel->{settled} if $cancel->{settled} < $settled;
	}
	foreach my $sku (grep { $judges->{$_} && $left{$_} > 0 } keys %left)
	{
		$judges->{$sku}->came_in($asked, $settled, $left{$sku});
	}
	return;
}

# A call that wanted units: how long it may have had them, and how long it must.
sub taken
{
	my ($self, $record, $judges) = @_;
	my $lines = Simulator::Log::lines_hash($record->{lines});
	# a later call of a transaction sees what it has given back itself
	my $alone = $record->{began} eq $record->{asked};

	if ($record->{code} eq 'IV001')
	{
		foreach my $short (split /,/, $record->{short})
		{
			my ($sku, $units, $available) = split /:/, $short;
			next if !$judges->{$sku};
			$judges->{$sku}
			  ->refused($record->{began}, $record->{told}, $units, $record);
			# a batch may say what there was before its first request took some
			$judges->{$sku}->said(
				$record->{began}, $record->{told}, $available, $record,
				at_least => 1,
				at_most  => $alone) if $record->{op} !~ /batch/;
		}
		return;
	}
	# what is left; of several stripes perhaps only one has been looked at
	if (   $record->{code} eq '00000'
		&& !$record->{replayed}
		&& $record->{op} !~ /batch/
		&& keys %$lines == 1)
	{
		my ($sku, $units) = %$lines;
		$judges->{$sku}->said($record->{asked}, $record->{told},
			$record->{available} + $units,
			$record, at_most => $alone)
		  if $judges->{$sku} && $record->{available} ne '';
	}
	if ($record->{fate} ne 'c')
	{
		foreach my $sku (grep { $judges->{$_} } keys %$lines)
		{
			$judges->{$sku}
			  ->possibly_taken($record->{asked}, $record->{settled},
				$lines->{$sku});
		}
		return;
	}
	# of several calls with one key, the first to be asked and to be answered
	my $hold = $self->{hold}{ $record->{rid} };
	if (!$hold)
	{
		# purged: nobody knows how long it lived
		$judges->{$_}->possibly_taken($record->{asked}, NEVER, $lines->{$_})
		  foreach grep { $judges->{$_} } keys %$lines;
		return;
	}
	return if $hold->{taken}++;
	my @makers = @{ $self->{made_by}{ $hold->{customer} } || [] };
	my ($asked, $settled) = (NEVER, NEVER);
	foreach my $maker (grep { $_->{rid} eq $record->{rid} } @makers)
	{
		$asked = $maker->{asked}     if $maker->{asked} < $asked;
		$settled = $maker->{settled} if $maker->{settled} < $settled;
	}

	my @about = @{ $self->{about}{ $record->{rid} } };
	my ($possible_end, $certain_end) = (NEVER, $hold->{expires} - BLUR);
	my $single = keys %$lines == 1;
	my @busy;
	my $sold_again = NEVER;
	if ($self->may_be_retaken($record->{rid}))
	{
		# others may have had its units between its death and the sale
		foreach my $call (grep { $_->{op} eq 'confirm' && $_->{fate} eq 'c' }
			@about)
		{
			$sold_again = $call->{settled} if $call->{settled} < $sold_again;
		}
	}
	elsif ($self->{order_of}{ $record->{rid} })
	{
		$certain_end = NEVER;
	}
	else
	{
		$possible_end = $hold->{expires} + BLUR if $single;
		foreach my $call (@about)
		{
			next if $call->{op} !~ /^(?:confirm|cancel|release|extend)$/;
			push @busy, [ $call->{asked}, $call->{settled} ];
			if ($call->{fate} eq 'c'
				&& (   $call->{op} eq 'cancel'
					|| $call->{op} eq 'release'
					&& $call->{status} eq 'cancelled'))
			{
				$possible_end = $call->{settled}
				  if $call->{settled} < $possible_end;
				$certain_end = $call->{asked}
				  if $call->{asked} < $certain_end;
			}
		}
	}
	my @seen = seen_periods($settled,
		$self->{hold}{ $record->{rid} }{maker}{expires} || 0, @about);
	my %left = %$lines;
	foreach my $release (
		grep {
				 $_->{op} eq 'release'
			  && $_->{fate} eq 'c'
			  && $_->{status} ne 'cancelled'
		} @about)
	{
		my ($sku, $units) = $release->{lines} =~ /^(.*):(\d+)$/;
		$left{$sku} -= $units;
		next if !$judges->{$sku};
		my $until =
			$release->{settled} < $possible_end
		  ? $release->{settled}
		  : $possible_end;
		$judges->{$sku}->possibly_taken($asked, $until, $units);
		my $sure_until =
		  $release->{asked} < $certain_end ? $release->{asked} : $certain_end;
		$judges->{$sku}->certainly_taken($settled, $sure_until, $units);
		$judges->{$sku}->seen_as_taken($_->[0],
			$_->[1] < $sure_until ? $_->[1] : $sure_until, $units)
		  foreach @seen;
	}
	foreach my $sku (grep { $judges->{$_} && $left{$_} > 0 } keys %left)
	{
		$judges->{$sku}->possibly_taken($asked, $possible_end, $left{$sku});
		$judges->{$sku}->certainly_taken($settled, $certain_end, $left{$sku});
		$judges->{$sku}->certainly_taken(
			$sold_again > $certain_end ? $sold_again : $certain_end,
			NEVER, $left{$sku})
		  if $sold_again < NEVER;
		$judges->{$sku}->seen_as_taken($_->[0],
			$_->[1] < $certain_end ? $_->[1] : $certain_end,
			$left{$sku})
		  foreach @seen;
		foreach my $period (@busy)
		{
			my $from =
			  $period->[0] > $possible_end ? $period->[0] : $possible_end;
			$judges->{$sku}
			  ->possibly_taken($from, $period->[1], $lines->{$sku})
			  if $period->[1] > $possible_end;
		}
	}
	return;
}

# When a hold must be seen as taken: from when its buyer was told until it would
# die, and again from when it is known to be extended or sold.
sub seen_periods
{
	my ($settled, $expires, @about) = @_;
	my @periods = ([ $settled, $expires - BLUR ]);

	foreach my $record (sort { $a->{settled} <=> $b->{settled} }
		grep { $_->{fate} eq 'c' } @about)
	{
		my $until =
			$record->{op} eq 'confirm' ? NEVER
		  : $record->{op} eq 'extend'
		  && $record->{expires} ne '' ? $record->{expires} - BLUR
		  : next;
		my $last = $periods[-1];
		if ($record->{settled} <= $last->[1])
		{
			$last->[1] = $until if $until > $last->[1];
		}
		else { push @periods, [ $record->{settled}, $until ]; }
	}
	return @periods;
}

1;
