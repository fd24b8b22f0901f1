package router

import (
	"net/http"
	"net/netip"
	"strings"
)

// clientAddr is the address that a request counts for: that of the connection,
// or, if this is one of the trusted proxies, the right-most address in
// X-Forwarded-For that is not a trusted proxy itself. What a sender writes
// there to the left of it is not believed. The zero address stands for one
// that cannot be read.
func clientAddr(req *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	hops := req.Header["X-Forwarded-For"]
	for i := len(hops) - 1; i >= 0; i-- {
		rest := hops[i]
		for rest != "" {
			if !contains(trusted, addr) {
				return addr
			}
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest, hop = "", rest
			}
			next, ok := parseHop(strings.TrimSpace(hop))
			if !ok {
				return addr
			}
			addr = next
		}
	}
	return addr
}

// parseHop reads an address as proxies write it, with or without a port.
func parseHop(hop string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(hop, "[]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	if addr, err := netip.ParseAddrPort(hop); err == nil {
		return addr.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
