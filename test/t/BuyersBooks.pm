# What the buyers' notes say, and whether the tables say the same.
#
# The notes are the judge.  They are outside of any server, so that no server
# that forgets something can make them forget it too; and they are compared in
# both directions, row by row and to the unit: what was acknowledged and is
# missing was lost, and what is there and was acknowledged to nobody was made
# twice.  inv_check(), which only knows the tables, would notice neither.
#
# Buyers must have finished: until then some of it is in doubt.
package BuyersBooks;

use strict;
use warnings;

use Buyers qw(read_notes);
use Exporter 'import';
use InventoryTest;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  read_books
  load_books
  brief_holds_are_swept
  books_agree
);

# Add up the notes of all clients of some Buyers.  The result has
#	hold      id => { key, status, lines => { SKU => units }, sale, brief }
#	key       key => id of the reservation, or '' where a call has none
#	refused   keys of calls that got a refusal
#	shipment  key => order
#	received  SKU => units
#	counted   event => times; what => answers
#	resolved  the notes of answers to calls that had been in doubt, each with
#			  the number of its client
#	wrong     what should not have happened
sub read_books
{
	my (@buyers) = @_;
	my %books = (
		map({ $_ => {} } qw(hold key refused shipment received counted)),
		resolved => [],
		wrong => []);

	foreach my $buyers (@buyers)
	{
		foreach my $client (1 .. $buyers->{clients})
		{
			my $in_doubt = '';
			foreach my $note (read_notes($buyers->notes_of($client)))
			{
				$books{counted}{ $note->{event} }++;
				$in_doubt = $note->{number} if $note->{event} eq 'lost';
				if ($note->{event} eq 'answer' && $note->{number} eq $in_doubt)
				{
					push @{ $books{resolved} }, { %$note, client => $client };
					$in_doubt = '';
				}
				read_note(\%books, $note);
			}
		}
	}
	return \%books;
}

sub read_note
{
	my ($books, $note) = @_;
	my ($event, $what, $key, $hold) = @{$note}{qw(event what key hold)};
	my %lines = map { split /:/ } split / /, $note->{lines};

	if ($event eq 'refused')
	{
		$books->{refused}{$key} = 1;
		return;
	}
	push @{ $books->{wrong} }, $hold if $event eq 'wrong';
	return if $event ne 'answer';

	$books->{counted}{$what}++;
	$books->{key}{$key} = $hold;
	if ($what eq 'receive')
	{
		$books->{received}{$_} += $lines{$_} foreach keys %lines;
	}
	elsif ($what =~ /^(?:confirm|cancel|release)$/)
	{
		my $of = $books->{hold}{$hold};
		$of->{status} = "${what}ed" =~ s/cancel/cancell/r if $what ne 'release';
		$of->{sale} = $note->{sale};
		$of->{lines}{$_} -= $lines{$_}
		  foreach $what eq 'release' ? keys %lines : ();
	}
	else
	{
		push @{ $books->{wrong} }, "two keys got hold $hold"
		  if $books->{hold}{$hold};
		$books->{hold}{$hold} = {
			key => $key,
			status => $what eq 'checkout' ? 'confirmed' : 'active',
			brief => $what eq 'brief',
			sale => $note->{sale},
			lines => \%lines
		};
		$books->{shipment}{$key} = $note->{sale} if $what eq 'checkout';
	}
	return;
}

# Put books into tables of a server, beside those of the extension: note_line,
# note_key, note_shipment and note_received.
sub load_books
{
	my ($node, $books) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir . '/books.sql';
	my $copy = sub {
		my ($table, @rows) = @_;
		return "COPY $table FROM STDIN;\n"
		  . join('', map { join("\t", map { $_ eq '' ? '\N' : $_ } @$_) . "\n" } @rows)
		  . "\\.\n";
	};
	my $hold = $books->{hold};

	append_to_file($file, join '', q{
		SET client_min_messages = warning;
		DROP TABLE IF EXISTS note_line, note_key, note_shipment, note_received;
		CREATE TABLE note_line
			(reservation_id uuid, sku text, quantity bigint, status text,
			 order_id uuid, brief boolean);
		CREATE TABLE note_key (key text, reservation_id uuid, refused boolean);
		CREATE TABLE note_shipment (key text, order_id uuid);
		CREATE TABLE note_received (sku text, units bigint);
		},
		$copy->('note_line', map {
			my ($id, $of) = ($_, $hold->{$_});
			map { [
				$id, $_, $of->{lines}{$_}, $of->{status}, $of->{sale} // '',
				$of->{brief} ? 't' : 'f' ] } sort keys %{ $of->{lines} }
		} sort keys %$hold),
		$copy->('note_key',
			map({ [ $_, $books->{key}{$_}, 'f' ] } sort keys %{ $books->{key} }),
			map({ [ $_, '', 't' ] } sort keys %{ $books->{refused} })),
		$copy->('note_shipment',
			map { [ $_, $books->{shipment}{$_} ] } sort keys %{ $books->{shipment} }),
		$copy->('note_received',
			map { [ $_, $books->{received}{$_} ] } sort keys %{ $books->{received} }),
		"ANALYZE note_line, note_key, inv_reservation, inv_idempotency, inv_order;\n");
	$node->safe_psql('postgres', "\\i $file\n");
	return;
}

# Rows that are in one of the books only, and how many of them.
my %difference = (
	'holds, lines, units, statuses, orders' => q{
		SELECT * FROM (
			SELECT reservation_id, sku, quantity,
				   CASE WHEN brief THEN 'expired' ELSE status END AS status,
				   order_id
			  FROM note_line) AS noted
		  FULL JOIN (
			SELECT line.reservation_id, item.sku, line.quantity, line.status,
				   sale.order_id
			  FROM inv_reservation AS line
			  JOIN inv_item AS item USING (item_id)
			  LEFT JOIN inv_order AS sale USING (reservation_id)
			 WHERE item.sku ~ '^[PR]') AS found
		 USING (reservation_id, sku)
		 WHERE (noted.quantity, noted.status, noted.order_id)
			   IS DISTINCT FROM (found.quantity, found.status, found.order_id)},
	'keys, and none of a refused call' => q{
		SELECT * FROM note_key AS noted
		  FULL JOIN inv_idempotency AS found USING (key)
		 WHERE refused IS DISTINCT FROM (found.scope IS NULL)
			OR noted.reservation_id IS DISTINCT FROM found.reservation_id},
	'what the shop wrote beside its sales' => q{
		SELECT * FROM note_shipment FULL JOIN shipment USING (key, order_id)
		 WHERE (note_shipment IS NULL) <> (shipment IS NULL)},
	'stock, to the unit' => q{
		SELECT * FROM (
			SELECT sku,
				   CASE WHEN sku ~ '^P' THEN 1000000 ELSE 40 END
				   + coalesce((SELECT sum(units) FROM note_received AS received
								WHERE received.sku = item.sku), 0)
				   - coalesce(sum(quantity) FILTER (WHERE line.status = 'confirmed'), 0) AS on_hand,
				   coalesce(sum(quantity) FILTER (WHERE line.status = 'active' AND NOT brief), 0) AS reserved
			  FROM inv_item AS item LEFT JOIN note_line AS line USING (sku)
			 WHERE sku ~ '^[PR]'
			 GROUP BY sku) AS noted
		  JOIN (
			SELECT sku, sum(on_hand) AS on_hand, sum(reserved) AS reserved
			  FROM inv_stock JOIN inv_item USING (item_id) GROUP BY sku) AS found
		 USING (sku)
		 WHERE (noted.on_hand, noted.reserved) <> (found.on_hand, found.reserved)});

# Test that the worker sweeps all brief holds.  Those of the last moment are
# still to die, so what is active must be one of the others, which live an hour.
sub brief_holds_are_swept
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(
		$node->poll_query_until('postgres', q{
			SELECT count(*) = 0 FROM inv_reservation
			 WHERE status = 'active'
			   AND expires_at < clock_timestamp() + '1 minute'}),
		"$name: what died is swept");
}

# Test that a server has what was acknowledged, once, and nothing else.  Brief
# holds must have been swept.
sub books_agree
{
	my ($node, $books, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(join("\n", @{ $books->{wrong} }), '', "$name: no client saw what he should not");
	load_books($node, $books);
	foreach my $of (sort keys %difference)
	{
		value_is($node, "SET enable_nestloop = off;"
			  . " SELECT to_jsonb(d) FROM ($difference{$of} LIMIT 5) AS d",
			'', "$name: the same in notes and tables: $of");
	}
	books_are_right($node, "$name: inv_check() finds nothing");
	return;
}

1;
