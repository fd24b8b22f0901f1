package config

import (
	"strings"
	"testing"
)

// TestWhatCanNeverMatchIsRefused: texts that nothing can be equal to, or that nothing
// can be reached by, are refused where they are typed, with the place and the reason.
func TestWhatCanNeverMatchIsRefused(t *testing.T) {
	const first = "node: {data_dir: /d}\nkeys: {source: file, file: {path: /k}}\n"
	for _, c := range []struct{ text, want string }{
		{"ingest: {event_types: [click, '']}", "ingest.event_types: expected a list of texts"},
		{"ingest: {event_types: ['click ']}", `ingest.event_types: "click " has blanks around it`},
		{`ingest: {event_types: ["a\u0007b"]}`, "without control characters"},
		{"ingest: {event_types: ['click*']}", "matches no others"},
		{"ingest: {event_types: [click, view, click]}", `"click" is in it twice`},
		{"ingest: {event_types: [" + strings.Repeat("x", 10_001) + "]}", "has a type of 10001 bytes"},
		{"ingest: {trusted_proxies: [10.1.2.3/8]}", `"10.1.2.3/8" has bits behind its mask; write 10.0.0.0/8 for the range, or 10.1.2.3`},
		{"ingest: {trusted_proxies: [proxy.example]}", "neither an address nor a range"},
		{"ingest: {trusted_proxies: ['10.0.0.1:80']}", "neither an address nor a range"},
		{"ingest: {trusted_proxies: [10.0.0.0/33]}", "neither an address nor a range"},
		{"ingest: {trusted_proxies: ['fe80::1%eth0']}", "has a zone"},
		{"ingest: {trusted_proxies: ['::ffff:10.0.0.1']}", "is IPv4 written as IPv6"},
		{"ingest: {trusted_proxies: ['::ffff:10.0.0.0/104']}", "is IPv4 written as IPv6"},
		{"ingest: {trusted_proxies: [10.0.0.0/8, 10.0.0.0/8]}", "twice"},
		{"ingest: {listen: 'http://0.0.0.0:7070'}", "expected host:port"},
		{"ingest: {listen: '0.0.0.0'}", "expected host:port"},
		{"ingest: {listen: ':65536'}", "expected host:port"},
		{"ingest: {listen: ':+80'}", "expected host:port"},
		{"ingest: {listen: ':http'}", "expected host:port"},
		{"ingest: {listen: '0.0.0.0/x:7070'}", "expected host:port"},
		{"ingest: {listen: 'a b:7070'}", "expected host:port"},
		{"admin: {listen: 'https://127.0.0.1:7071'}", "admin.listen"},
		{"admin: {nodes: ['http://a:7071']}", "is no admin address"},
		{"admin: {nodes: ['a:0']}", "is no admin address"},
		{"admin: {nodes: ['a:x']}", "is no admin address"},
		{"admin: {nodes: ['unix:']}", "is no admin address"},
		{"admin: {nodes: ['a:1', 'a:1']}", "twice"},
		{"shippers: {clickhouse: {addrs: ['tcp://a:9000']}}", "is not host:port"},
		{"shippers: {clickhouse: {addrs: [a]}}", "is not host:port"},
		{"shippers: {clickhouse: {addrs: ['a:0']}}", "is not host:port"},
		{"shippers: {clickhouse: {addrs: ['a,b:9000']}}", "is not host:port"},
		{"shippers: {clickhouse: {addrs: ['a:9000', 'a:9000']}}", "twice"},
		{"shippers: {clickhouse: {addrs: ['a:9000'], replay_addrs: ['b:70000']}}", "is not host:port"},
		{"shippers: {session: {url: '127.0.0.1:8081'}}", "expected a base URL"},
		{"shippers: {session: {url: 'ftp://a'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://:8081'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://a:'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://a:99999'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://a?'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://a#'}}", "expected a base URL"},
		{"shippers: {session: {url: 'http://u:p@a'}}", "holds a user or password"},
		{"privacy: {rules: [emial=drop]}", "did you mean email?"},
		{"privacy: {rules: [shop/fone=drop]}", "did you mean phone?"},
	} {
		_, err := Load(writeFile(t, first+c.text+"\n"), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), ":3: ") {
			t.Errorf("%s gives\n%v\nwant line 3 and %q", c.text, err, c.want)
		}
	}
	for _, text := range []string{
		"ingest: {event_types: [click, 'page view'], listen: '[::1]:7070'}",
		"ingest: {trusted_proxies: [10.0.0.0/8, 192.0.2.1, 'fd00::/8', '2001:db8::1']}",
		"admin: {nodes: ['a:7071', '[::1]:7071', 'unix:/x']}",
		"shippers: {clickhouse: {addrs: ['a:9000', 'b:9000', '[::1]:9000']}, session: {url: 'https://a/base'}}",
	} {
		if _, err := Load(writeFile(t, first+text+"\n"), nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
