#!/usr/bin/env perl
# A collector of traces that listens on its node alone: keeps all that is posted in a file, with who posted it, and decodes nothing.
use strict;
use warnings;
use IO::Socket::INET;

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 4318, Listen => 16, ReuseAddr => 1) or die "cannot listen: $!";
open(my $kept, '>>:raw', $ARGV[0]) or die "cannot write $ARGV[0]: $!";
$kept->autoflush(1);
while (my $peer = $listener->accept) {
    binmode $peer;
    my $length = 0;
    while (defined(my $line = <$peer>)) {
        last if $line =~ /^\r?\n$/;
        print $kept $line if $line =~ /^authorization:/i;
        $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
    }
    my $body = "";
    read($peer, $body, $length);
    print $kept $body;
    print $peer "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    close $peer;
}
