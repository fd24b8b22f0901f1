package router

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		name      string
		remote    string
		forwarded []string
		want      string
	}{
		{"direct", "203.0.113.5:1234", nil, "203.0.113.5"},
		{"not a proxy", "203.0.113.5:1234", []string{"198.51.100.7"}, "203.0.113.5"},
		{"proxy that says nothing", "10.0.0.1:1234", nil, "10.0.0.1"},
		{"proxy", "10.0.0.1:1234", []string{"198.51.100.7"}, "198.51.100.7"},
		{"what the client wrote is not believed", "10.0.0.1:1234", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{"two proxies", "10.0.0.1:1234", []string{"1.1.1.1, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"several lines", "10.0.0.1:1234", []string{"1.1.1.1", "198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		{"only proxies", "10.0.0.1:1234", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"with a port", "10.0.0.1:1234", []string{"198.51.100.7:99"}, "198.51.100.7"},
		{"IPv6", "[fd00::1]:1234", []string{"[2001:db8::5]:99"}, "2001:db8::5"},
		{"IPv6 in brackets", "[fd00::1]:1234", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1234", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{"zone", "[fe80::1%eth0]:1234", nil, "fe80::1"},
		{"nonsense", "10.0.0.1:1234", []string{"1.1.1.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"empty", "10.0.0.1:1234", []string{""}, "10.0.0.1"},
		{"a comma", "10.0.0.1:1234", []string{","}, "10.0.0.1"},
		{"no address", "@", nil, "invalid IP"},
	} {
		req := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := clientAddr(req, trusted).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
