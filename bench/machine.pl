#!/usr/bin/perl
# The machine and the programs a benchmark ran on: "name<tab>value" lines.
#
#   machine.pl DIRECTORY    DIRECTORY: on the disk the servers use
use strict;
use warnings;

use IO::Handle;
use POSIX ();
use Time::HiRes qw(time);

my $directory = shift // '.';

sub first_match
{
	my ($file, $pattern) = @_;
	open my $handle, '<', $file or return 'unknown';
	while (my $line = <$handle>)
	{
		return $1 if $line =~ $pattern;
	}
	return 'unknown';
}

sub version_of
{
	my ($pattern, @command) = @_;
	open my $handle, '-|', @command or return 'unknown';
	local $/;
	return (<$handle> // '') =~ $pattern ? $1 : 'unknown';
}

# What one commit has to wait for at least.
sub flush_time
{
	my $file = "$directory/flush.$$";
	open my $handle, '>', $file or return 'unknown';
	my @times;
	foreach (1 .. 300)
	{
		my $start = time;
		syswrite $handle, 'x' x 8192;
		$handle->sync;
		push @times, time - $start;
	}
	close $handle;
	unlink $file;
	@times = sort { $a <=> $b } @times;
	return sprintf '%.0f', 1e6 * $times[ @times / 2 ];
}

open my $cpuinfo, '<', '/proc/cpuinfo' or die "/proc/cpuinfo: $!";
my $processors = grep { /^processor\s*:/ } <$cpuinfo>;
my $memory = first_match('/proc/meminfo', qr/^MemTotal:\s+(\d+)/);

print "date\t", POSIX::strftime('%Y-%m-%d', gmtime), "\n";
print "commit\t",
  version_of(qr/^(\S+)/, 'git', '-C', $directory, 'describe', '--always', '--dirty'), "\n";
print "processor\t$processors x ",
  first_match('/proc/cpuinfo', qr/^model name\s*:\s*(.*)/), "\n";
printf "memory\t%.0f GB\n", $memory / 1024 / 1024;
print "8 kB written and flushed (median)\t", flush_time(), " microseconds\n";
print "kernel\t", version_of(qr/^(\S+)/, 'uname', '-r'), "\n";
print "system\t",
  first_match('/etc/os-release', qr/^PRETTY_NAME="?([^"]*)/), "\n";
print "PostgreSQL\t", version_of(qr/([\d.]+)/, 'postgres', '--version'), "\n";
print "Redis\t", version_of(qr/v=([\d.]+)/, 'redis-server', '--version'),
  "\n";
