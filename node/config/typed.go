package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file checks texts that something else is compared with or reached by: what
// can never match, or be reached, is refused.

// eventTypes checks the allow-list; longest is the longest text that an event may have.
func (v *validator) eventTypes(kinds []string, longest Bytes) {
	const path = "ingest.event_types"
	if len(kinds) == 0 {
		v.fail(path, "is empty, so every event would be dropped; list types, or \"*\" for all")
	}
	for _, kind := range kinds {
		switch {
		case kind == "*" && len(kinds) > 1:
			v.fail(path, "\"*\" accepts all; keep it alone or remove it")
		case kind == "":
			v.fail(path, "has an empty type, which no event can have; remove it")
		case kind != strings.TrimSpace(kind):
			v.fail(path, "%q has blanks around it and is compared with them; remove them", kind)
		case kind != "*" && strings.Contains(kind, "*"):
			v.fail(path, "%q is compared as it is, it matches no others; list each type, or \"*\" alone for all", kind)
		case !utf8.ValidString(kind) || strings.ContainsFunc(kind, unicode.IsControl):
			v.fail(path, "%q is not UTF-8 without control characters", kind)
		case Bytes(len(kind)) > longest:
			v.fail(path, "has a type of %d bytes; an event's may have limits.string_bytes (%s)", len(kind), longest)
		}
	}
	v.once(path, kinds)
}

// once refuses what a list has twice.
func (v *validator) once(path string, list []string) {
	for i, text := range list {
		if slices.Index(list, text) == i && slices.Contains(list[i+1:], text) {
			v.fail(path, "%q is in it twice; remove one", text)
		}
	}
}

// proxies checks addresses and ranges that senders' addresses are compared with, which
// have no zone and are IPv4 where they can be.
func (v *validator) proxies(list []string) {
	const path = "ingest.trusted_proxies"
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		addr := prefix.Addr()
		if err != nil {
			addr, err = netip.ParseAddr(text)
		}
		switch {
		case err != nil:
			v.fail(path, "%q is neither an address nor a range; write for example 10.0.0.0/8", text)
		case addr.Zone() != "":
			v.fail(path, "%q has a zone, which is not compared; write the address alone", text)
		case addr.Is4In6():
			v.fail(path, "%q is IPv4 written as IPv6, which matches nothing; write for example 10.0.0.0/8", text)
		case prefix.IsValid() && prefix.Masked() != prefix:
			v.fail(path, "%q has bits behind its mask; write %s for the range, or %s for the one address", text, prefix.Masked(), addr)
		}
	}
	v.once(path, list)
}

type address struct {
	port         int
	loopback, ok bool
}

// address checks what is listened on.
func (v *validator) address(path, text string) address {
	host, port, ok := splitAddress(text, 0)
	if !ok {
		v.fail(path, "expected host:port with a port from 0 to 65535, such as 127.0.0.1:7070 or :7070")
		return address{}
	}
	ip, err := netip.ParseAddr(host)
	return address{port: port, loopback: host == "localhost" || err == nil && ip.IsLoopback(), ok: true}
}

// splitAddress reads HOST:PORT with a port of at least least and a host that can be
// one; it may be empty.
func splitAddress(text string, least int) (host string, port int, ok bool) {
	host, digits, err := net.SplitHostPort(text)
	if err != nil || strings.ContainsFunc(digits, func(c rune) bool { return c < '0' || c > '9' }) {
		return "", 0, false
	}
	port, err = strconv.Atoi(digits)
	wrong := strings.ContainsAny(host, "/?#@*,") || strings.ContainsFunc(host, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) })
	return host, port, err == nil && port >= least && port <= 65535 && !wrong
}

// adminNodes checks where other nodes are asked.
func (v *validator) adminNodes(addrs []string) {
	const path = "admin.nodes"
	if len(addrs) > MaxNodes {
		v.fail(path, "at most %d nodes are shown", MaxNodes)
	}
	for _, addr := range addrs {
		socket, isUnix := strings.CutPrefix(addr, "unix:")
		host, _, ok := splitAddress(addr, 1)
		if isUnix && socket == "" || !isUnix && (!ok || host == "") {
			v.fail(path, "%q is no admin address; write HOST:PORT or unix:/path", addr)
		}
	}
	v.once(path, addrs)
}

// addrs checks addresses of servers.
func (v *validator) addrs(path string, addrs []string) {
	for _, addr := range addrs {
		if strings.Contains(addr, "@") {
			v.fail(path, "holds a user or password; they go into shippers.clickhouse.username and password_file")
			return // what the list holds is not shown
		}
	}
	for _, addr := range addrs {
		if host, _, ok := splitAddress(addr, 1); !ok || host == "" {
			v.fail(path, "%q is not host:port, such as clickhouse-1:9000", addr)
		}
	}
	v.once(path, addrs)
}

// baseURL checks one that paths are added to.
func (v *validator) baseURL(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(text, "?#") || !portOfURL(u) {
		v.fail(path, "expected a base URL such as http://127.0.0.1:8081, without query or fragment")
	} else if u.User != nil {
		v.fail(path, "holds a user or password; put a bearer token in shippers.session.token_file")
	}
}

// portOfURL tells whether a URL's port, if it names one, can be one.
func portOfURL(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n >= 1 && n <= 65535
}
