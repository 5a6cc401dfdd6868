# A pair of servers of which one is killed: what the tests of failover share.
package Failover;

use strict;
use warnings;

use Exporter 'import';
use File::Copy qw(copy);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(
  kill_server
  freeze_sender
  await_standby
  blocked_buyers
  new_standby
  rewound_standby
);

sub process_status
{
	my ($pid) = @_;

	open my $file, '<', "/proc/$pid/stat" or return ('', 0);
	my $line = <$file>;
	# the name, in parentheses, may have anything in it
	return ($1, $2) if defined $line && $line =~ /.*\) (\S) (\d+)/s;
	return ('', 0);
}

# SIGKILL for a postmaster and all its children at once: nobody gets to flush,
# send or tell anything.
sub kill_server
{
	my ($node) = @_;
	my $lock_file = $node->data_dir . '/postmaster.pid';
	my ($pid, undef, undef, $port, $sockets) = split /\n/,
	  slurp_file($lock_file);

	# no more children from here on
	kill 'STOP', $pid;
	my @children = grep { (process_status($_))[1] == $pid }
	  map { m{^/proc/(\d+)$} ? $1 : () } glob '/proc/[0-9]*';
	kill 'KILL', $pid, @children;
	$node->kill9;
	foreach my $process ($pid, @children)
	{
		my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
		until ((process_status($process))[0] =~ /^[ZX]?$/)
		{
			die "process $process does not die" if time > $deadline;
			sleep 0.01;
		}
	}
	# The process that is to bury the postmaster may be slow to, and until then
	# PostgreSQL takes it for alive.  All who were its server are dead.
	unlink $lock_file, "$sockets/.s.PGSQL.$port.lock";
	return;
}

# Let nothing more get from a primary to its standbys, for good.
sub freeze_sender
{
	my ($node) = @_;
	my @senders = split /\n/,
	  $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_replication');

	kill 'STOP', @senders;
	return scalar @senders;
}

# From now on a primary acknowledges nothing that its standby does not have:
# "on", on its disk; "remote_apply", visible there.
sub await_standby
{
	my ($node, $level) = @_;

	$node->append_conf('postgresql.conf',
		"synchronous_standby_names = '*'\nsynchronous_commit = $level");
	$node->reload;
	$node->poll_query_until('postgres', q{
		SELECT count(*) = 1 FROM pg_stat_replication
		 WHERE state = 'streaming' AND sync_state = 'sync'})
	  or die 'the standby does not come';
	return;
}

# Wait until each of so many buyers waits, for the standby or for one who does.
# Returns the numbers of those who wait for the standby: their calls are
# committed here, and not acknowledged.
sub blocked_buyers
{
	my ($node, $clients) = @_;
	my $buyers = q{FROM pg_stat_activity
		WHERE application_name ~ '^buyer' AND state = 'active'};

	$node->poll_query_until('postgres', qq{
		SELECT count(*) = $clients $buyers
		   AND (wait_event = 'SyncRep' OR wait_event_type = 'Lock')})
	  or return;
	return split /\n/, $node->safe_psql('postgres', qq{
		SELECT substr(application_name, 6) $buyers AND wait_event = 'SyncRep'});
}

# A standby that is promoted stands alone at first, and must not wait for one.
# One whose sender is frozen must not look for another after a while.
sub settle_standby
{
	my ($standby) = @_;

	$standby->append_conf('postgresql.conf', <<'CONF');
synchronous_standby_names = ''
wal_receiver_timeout = 0
CONF
	return $standby;
}

# A new standby of a server, copied while that is in use.
sub new_standby
{
	my ($name, $primary) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	return settle_standby($standby);
}

# Make a killed server, which may have committed what its successor never got,
# a standby of that.
sub rewound_standby
{
	my ($old, $primary) = @_;
	my $conf = $old->data_dir . '/postgresql.conf';

	# pg_rewind takes the source's configuration along.  And before 17 the source's
	# timeline is only known from its checkpoint.
	$primary->safe_psql('postgres', 'CHECKPOINT');
	my $kept = PostgreSQL::Test::Utils::tempdir . '/postgresql.conf';
	copy($conf, $kept) or die "$conf: $!";
	command_checks_all(
		[
			'pg_rewind', '--target-pgdata', $old->data_dir, '--no-sync',
			'--source-server', $primary->connstr('postgres')
		],
		0, [], [qr/servers diverged at WAL location .*Done!/s],
		'the old primary is rewound');
	copy($kept, $conf) or die "$conf: $!";
	$old->enable_streaming($primary);
	return settle_standby($old);
}

1;
