#!/usr/bin/perl
# Percentiles of the transaction times in pgbench's logs (pgbench -l).
#
#   percentiles.pl LOG ...    prints: number p50 p95 p99, in milliseconds
#
# A log has a line a transaction, "client number microseconds ...": millions
# of them, so times are counted in classes 1 % wide instead of being sorted.
use strict;
use warnings;

my %count;
my $total = 0;
my $width = log(1.01);
while (my $line = <>)
{
	my $time = (split ' ', $line, 4)[2];
	next unless defined $time && $time =~ /^\d+$/;
	$count{ $time > 0 ? int(log($time) / $width) : 0 }++;
	$total++;
}

my @wanted = (0.50, 0.95, 0.99);
my @found;
my $seen = 0;
foreach my $class (sort { $a <=> $b } keys %count)
{
	$seen += $count{$class};
	while (@found < @wanted && $seen >= $wanted[@found] * $total)
	{
		push @found, sprintf('%.3f', exp(($class + 0.5) * $width) / 1000);
	}
}
print join(' ', $total, @found), "\n";
