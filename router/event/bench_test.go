package event

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// benchEvents is how many events a body of the benchmarks has.
const benchEvents = 100

// benchBody is a body as a page's library sends it: events of one session that
// differ in their times, numbers and idempotency keys, and in their metadata if
// there is more than one.
func benchBody(metadata ...string) []byte {
	all := make([]string, benchEvents)
	for i := range all {
		all[i] = fmt.Sprintf(`{"eventType":"click","timestamp":"%s","sessionId":"session-0417","route":"/products/shoes",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{%s,"number":%d},"environment":"production","idempotencyKey":"%08x-0000-4000-8000-%012x"}`,
			testNow.Add(time.Duration(37*i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z"),
			metadata[i%len(metadata)], 100+i, 0x9e3779b1*uint32(i), i)
	}
	return []byte(`{"sdk_version":"1.4.2","app_id":"shop","events":[` + strings.Join(all, ",") + `]}`)
}

// BenchmarkDecode decodes events that are alike, and events of three kinds that
// take turns, so that none has the names of the one before.
func BenchmarkDecode(b *testing.B) {
	click := `"clientX":512,"text":"Add"`
	for _, bench := range []struct {
		name string
		body []byte
	}{
		{"alike", benchBody(click)},
		{"turns", benchBody(click, `"depth":0.75,"ms":412`, `"field":"size","value":"42","valid":true`)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d := newDecoder(b, Limits{})
			b.SetBytes(int64(len(bench.body)))
			for b.Loop() {
				batch, refusal := d.Decode(bench.body, Envelope, testNow)
				if refusal.Refused() || len(batch.Events) != benchEvents || batch.Events[benchEvents-1].Refusal.Refused() {
					b.Fatal("refused", refusal)
				}
			}
			b.ReportMetric(float64(benchEvents*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
