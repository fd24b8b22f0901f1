package event

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// benchBody is a body as a page's library sends it: events of one session that
// differ in their times, numbers and idempotency keys.
func benchBody(events int) []byte {
	all := make([]string, events)
	for i := range all {
		all[i] = fmt.Sprintf(`{"eventType":"click","timestamp":"%s","sessionId":"session-0417","route":"/products/shoes",`+
			`"target":{"type":"element","id":"buy-now","selector":"#main > div.card","tagName":"button"},`+
			`"metadata":{"clientX":512,"clientY":%d,"text":"Add"},"environment":"production","idempotencyKey":"%08x-0000-4000-8000-%012x"}`,
			testNow.Add(time.Duration(37*i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z"), 100+i, 0x9e3779b1*uint32(i), i)
	}
	return []byte(`{"sdk_version":"1.4.2","app_id":"shop","events":[` + strings.Join(all, ",") + `]}`)
}

func BenchmarkDecode(b *testing.B) {
	const events = 100
	body := benchBody(events)
	d := newDecoder(b, Limits{})
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		batch, refusal := d.Decode(body, Envelope, testNow)
		if refusal.Refused() || len(batch.Events) != events || batch.Events[events-1].Refusal.Refused() {
			b.Fatal("refused", refusal)
		}
	}
	b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
}
