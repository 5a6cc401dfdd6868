# A client's own books: SKUs that nobody else buys, so that it is known what
# every answer has to be.
#
# The only thing that others do to them is sweeping, which changes no answer,
# but for one: a dead cart may be locked, through another of its lines, by a
# sweep that is at work, and is no stock then.  Where nothing sweeps it must be
# free the moment its time is over.
#
# The books are plain data: a transaction works on a copy.
package Simulator::Books;

use strict;
use warnings;

use Storable qw(dclone);

# How far a moment that was read on this side may be off one of the server's;
# seconds.  Both read one clock; this is for rounding.
use constant BLUR => 0.002;

sub new
{
	my ($class, %option) = @_;

	return bless { sku => {}, hold => {}, order => {}, key => {}, %option },
	  $class;
}

sub copy
{
	my ($books) = @_;

	return dclone($books);
}

# Is a hold live in all of a period, dead in all of it, or "either"?  Or closed.
sub state_of
{
	my ($hold, $from, $to) = @_;

	return $hold->{state} if $hold->{state} ne 'active';
	return 'dead'         if $hold->{expires} <= $from - BLUR;
	return 'live'         if $hold->{expires} > $to + BLUR;
	return 'either';
}

# What is available of a SKU in a period: the least and the most; and the least
# there would be if no dead hold could be had.
sub available
{
	my ($books, $sku, $from, $to) = @_;
	my $stock = $books->{sku}{$sku};
	my ($least, $most, $without_dead) =
	  ($stock->{on_hand} - $stock->{safety}) x 3;

	foreach my $hold (values %{ $books->{hold} })
	{
		my $units = $hold->{lines}{$sku} or next;
		my $state = state_of($hold, $from, $to);
		next if $state ne 'live' && $state ne 'either' && $state ne 'dead';
		$without_dead -= $units;
		$least -= $units if $state ne 'dead';
		$most  -= $units if $state eq 'live';
	}
	return ($least, $most, $without_dead);
}

# The same for somebody who is refused: a dead cart that a sweep may have locked
# is not there.
sub available_to_buyer
{
	my ($books, $sku, $from, $to) = @_;
	my ($least, $most, $without_dead) = $books->available($sku, $from, $to);

	return ($least, $most, $without_dead) if !$books->{swept};
	foreach my $hold (values %{ $books->{hold} })
	{
		next if !$hold->{lines}{$sku} || keys %{ $hold->{lines} } == 1;
		$least -= $hold->{lines}{$sku}
		  if state_of($hold, $from, $to) eq 'dead';
	}
	return ($least, $most, $without_dead);
}

sub held_by
{
	my ($hold) = @_;
	my $units = 0;

	$units += $_ foreach values %{ $hold->{lines} };
	return $units;
}

1;
