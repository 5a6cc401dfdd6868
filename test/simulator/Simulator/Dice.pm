# Random numbers that are the same on every machine: a seed is a text, and each
# purpose has dice of its own, so that none disturbs another.
package Simulator::Dice;

use strict;
use warnings;

use Digest::MD5 qw(md5_hex);

use constant MODULUS => 2147483647;

sub new
{
	my ($class, @seed) = @_;
	my $state = hex(substr(md5_hex("@seed"), 0, 8)) % (MODULUS - 1) + 1;

	return bless \$state, $class;
}

# A number from 0 to 1, 1 excluded (Park and Miller).
sub roll
{
	my ($self) = @_;

	$$self = $$self * 48271 % MODULUS;
	return ($$self - 1) / (MODULUS - 1);
}

# A whole number from 0 to "sides" - 1.
sub below
{
	my ($self, $sides) = @_;

	return int($self->roll * $sides);
}

sub pick
{
	my ($self, @items) = @_;

	return $items[ $self->below(scalar @items) ];
}

sub chance
{
	my ($self, $probability) = @_;

	return $self->roll < $probability;
}

1;
