#!/usr/bin/perl
# Sends one signed signal to Gemba with modules that come with Perl.
#
# Usage: perl send.pl hmac              http://localhost:8080/v1/signals          SECRET_FILE ID
#        perl send.pl standard-webhooks http://localhost:8080/v1/sources/webhooks SECRET_FILE ID
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256 hmac_sha256_hex);
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64 qw(decode_base64 encode_base64);

my %signers = (
    # Hex HMAC-SHA256 of the exact bytes of the body. The key is the text in the secret file.
    'hmac' => sub {
        my ($secret, $id, $body) = @_;
        return { 'x-signature' => hmac_sha256_hex($body, $secret) };
    },
    # The key is the decoded base64 after `whsec_`. The id and the time are signed, too.
    'standard-webhooks' => sub {
        my ($secret, $id, $body) = @_;
        my $key = decode_base64($secret =~ s/^whsec_//r);
        my $now = time;
        my $signature = encode_base64(hmac_sha256("$id.$now.$body", $key), '');
        return { 'webhook-id' => $id, 'webhook-timestamp' => $now, 'webhook-signature' => "v1,$signature" };
    },
);

# Sends the same bytes until they are accepted or refused.
sub send_signal {
    my ($url, $body, $sign) = @_;
    my $http = HTTP::Tiny->new(timeout => 30);
    my $answer;
    for my $left (reverse 0 .. 5) {
        my %headers = ('content-type' => 'application/json', %{ $sign->() });
        $answer = $http->post($url, { headers => \%headers, content => $body });
        # 599 is HTTP::Tiny's own: no answer. The signal may have been accepted, and a repeat does no harm.
        last if $left == 0 || $answer->{status} !~ /^(429|503|599)$/;
        sleep($answer->{headers}{'retry-after'} // 1);
    }
    return $answer;
}

@ARGV == 4 && $signers{ $ARGV[0] } or die "usage: perl send.pl hmac|standard-webhooks URL SECRET_FILE ID\n";
my ($scheme, $url, $secret_file, $id) = @ARGV;
open(my $file, '<', $secret_file) or die "$secret_file: $!\n";
my $secret = do { local $/; <$file> } =~ s/\s+\z//r;
# The id names the event: the same id with the same body is the same signal, however often it is sent.
my %data = (spend => 81.25, budget => 100);
my %signal = (id => $id, tenant => 'acme', sku => 'vm', type => 'cost.usage', data => \%data);
my $body = JSON::PP->new->utf8->canonical->encode(\%signal);
my $answer = send_signal($url, $body, sub { $signers{$scheme}->($secret, $id, $body) });
print "$answer->{status} $answer->{content}\n";
exit($answer->{status} != 202);
