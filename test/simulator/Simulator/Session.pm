# A connection to the server, which may vanish at any moment.
#
# What must never happen is that an answer that got lost is taken for a refusal:
# the call may have been committed.  So there are three ways for a call to end:
# with rows, with an SQLSTATE, or lost.  After a loss nobody asks what has
# become of the call before the backend that had it is gone.
package Simulator::Session;

use strict;
use warnings;

use DBD::Pg qw(:async);
use DBI;
use Time::HiRes qw(sleep time);

sub new
{
	my ($class, %option) = @_;

	return bless { lost => 0, %option }, $class;
}

# Connect, however often the server is restarted meanwhile.
sub connect
{
	my ($self) = @_;
	my $until = time + 180;

	while (1)
	{
		my $dbh = DBI->connect(
			"dbi:Pg:dbname=$self->{database};application_name='$self->{name}'",
			undef, undef,
			{
				RaiseError        => 0,
				PrintError        => 0,
				PrintWarn         => 0,
				AutoCommit        => 1,
				pg_server_prepare => 1
			});
		if ($dbh)
		{
			my ($gone) =
			  $self->{pid}
			  ? $dbh->selectrow_array(
				'SELECT count(*) FROM pg_stat_activity WHERE pid = ? AND backend_start = ?::timestamptz',
				undef, $self->{pid}, $self->{start})
			  : (0);
			my ($pid, $start) = $dbh->selectrow_array(
				'SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()'
			);
			if (defined $gone && $gone == 0 && $pid)
			{
				@$self{qw(dbh pid start)} = ($dbh, $pid, $start);
				$self->{statements} = {};
				return $self;
			}
			$dbh->disconnect;
		}
		die "cannot connect: "
		  . ($DBI::errstr || 'the old backend stays') . "\n"
		  if time > $until;
		sleep 0.05;
	}
}

# Did the connection go?  Then the SQLSTATE says nothing about the call.  22000 is
# what DBD::Pg makes of having none.
sub is_lost
{
	my ($code) = @_;

	return $code =~ /^(?:08|57P0|22000|S1)/ || $code !~ /^[0-9A-Z]{5}$/;
}

# Make a call.  A hash: code, rows, asked, told, message; lost.
sub ask
{
	my ($self, $sql, @arguments) = @_;
	my %answer = (code => '00000', rows => []);
	my $dbh = $self->{dbh};
	my $statement;

	$answer{asked} = time;
	$statement = $self->{statements}{$sql} ||= $dbh->prepare($sql);
	if ($statement && $statement->execute(@arguments))
	{
		$answer{rows} = $statement->fetchall_arrayref
		  if $statement->{NUM_OF_FIELDS};
	}
	else
	{
		$answer{code} = $dbh->state || '08000';
		$answer{message} = $dbh->errstr;
	}
	$answer{told} = time;
	return $self->note_loss(\%answer);
}

# Make a call, and while the server is at it, run some code.
sub ask_and_meanwhile
{
	my ($self, $code, $sql, @arguments) = @_;
	my %answer = (code => '00000', rows => []);
	my $dbh = $self->{dbh};
	my $statement = $dbh->prepare($sql, { pg_async => PG_ASYNC });

	$answer{asked} = time;
	my $sent = $statement && $statement->execute(@arguments);
	$code->();
	if ($sent && $dbh->pg_result)
	{
		$answer{rows} = $statement->fetchall_arrayref;
	}
	else
	{
		$answer{code} = $dbh->state || '08000';
		$answer{message} = $dbh->errstr;
	}
	$answer{told} = time;
	return $self->note_loss(\%answer);
}

# The same for what has neither arguments nor an answer worth having, several
# statements perhaps.
sub tell
{
	my ($self, $sql) = @_;
	my %answer = (code => '00000', rows => []);
	my $dbh = $self->{dbh};

	$answer{asked} = time;
	if (!defined $dbh->do($sql))
	{
		$answer{code} = $dbh->state || '08000';
		$answer{message} = $dbh->errstr;
	}
	$answer{told} = time;
	return $self->note_loss(\%answer);
}

sub note_loss
{
	my ($self, $answer) = @_;

	if ($answer->{code} ne '00000' && is_lost($answer->{code}))
	{
		$answer->{lost} = 1;
		$self->{lost}++;
	}
	return $answer;
}

# After a loss.
sub reconnect
{
	my ($self) = @_;

	$self->{dbh}->disconnect if $self->{dbh};
	return $self->connect;
}

# The first column of the first row, however often the answer gets lost.
sub value
{
	my ($self, $sql, @arguments) = @_;

	while (1)
	{
		my $answer = $self->ask($sql, @arguments);
		return $answer->{rows}[0] ? $answer->{rows}[0][0] : undef
		  if $answer->{code} eq '00000';
		$self->reconnect if $answer->{lost};
		die "$sql: $answer->{message}\n"
		  if !$answer->{lost}
		  && $answer->{code} !~ /^(?:57014|55P03|40001|40P01)$/;
	}
}

1;
