# What a client writes down: a line for each call, when it is certain what has
# become of it.
#
#   began   the moment before the transaction began
#   asked   the moment before the call, of the first attempt if an answer got
#           lost and the call was repeated
#   told    the moment after the answer
#   settled the moment after it was known whether the transaction is committed
#   fate    c: committed.  r: rolled back, refused, or found to be absent
#
# All moments are by the clock that the server reads.
package Simulator::Log;

use strict;
use warnings;

our @fields = qw(client number began asked told settled fate op code rid lines
  customer key expires status replayed available oid short retake);

sub new
{
	my ($class, $file) = @_;

	open my $handle, '>>', $file or die "$file: $!\n";
	return bless { handle => $handle }, $class;
}

sub add
{
	my ($self, $record) = @_;

	print { $self->{handle} }
	  join("\t", map { defined $record->{$_} ? $record->{$_} : '' } @fields),
	  "\n";
	return;
}

sub flush
{
	my ($self) = @_;

	$self->{handle}->flush;
	return;
}

# All records of some files, in the order in which they were asked.
sub read_all
{
	my @records;

	foreach my $file (@_)
	{
		open my $handle, '<', $file or die "$file: $!\n";
		while (my $line = <$handle>)
		{
			chomp $line;
			my %record;
			@record{@fields} = split /\t/, $line, -1;
			push @records, \%record;
		}
		close $handle;
	}
	return sort { $a->{asked} <=> $b->{asked} } @records;
}

# "A:2,B:1" for a hash of SKU => units, and back.
sub lines_text
{
	my ($lines) = @_;

	return join ',', map { "$_:$lines->{$_}" } sort keys %$lines;
}

sub lines_hash
{
	my ($text) = @_;

	return { map { /^(.*):(-?\d+)$/ ? ($1 => $2) : () } split /,/, $text };
}

1;
