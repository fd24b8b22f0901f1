package router

import (
	"bytes"
	"net/http"
	"strings"

	"forebay/router/auth"
	"forebay/router/event"
)

// ReasonUnknownPath is the reason of the drop that a POST to a path that is none
// shows as. It is answered with 404 and is in no ledger: the front door has
// taken nothing.
const ReasonUnknownPath = "unknown_path"

// LooksLikeOther is a Drop's LooksLike of a POST that no known SDK makes: a
// scanner's, mostly.
const LooksLikeOther = "other"

// What a request can look like that brings no events of this node's own form.
// There are no others, so they can be counted by.
const (
	likeOwn         = "own" // nearly a path of the node's own
	likeSegment     = "segment"
	likeRudderStack = "rudderstack"
	likeJitsu       = "jitsu"
	likePostHog     = "posthog"
	likeSnowplow    = "snowplow"
	likeOTLP        = "otlp"
	likeCloudEvents = "cloudevents"
	likeAmplitude   = "amplitude"
	likeMixpanel    = "mixpanel"
	likeGoogle      = "google_analytics"
	likeMatomo      = "matomo"
	likePlausible   = "plausible"
	likeSentry      = "sentry"
	likeArray       = "json_array" // events in an array, as log shippers send them
	likeForm        = "form"       // a form, as some SDKs send from a page that is left
	likeOther       = LooksLikeOther
)

// sdkNames are what they are called when people are told.
var sdkNames = map[string]string{
	likeOwn: "to nearly a path of this node (see the spelling and the slashes)", likeSegment: "of a Segment SDK", likeRudderStack: "of a RudderStack SDK",
	likeJitsu: "of a Jitsu SDK", likePostHog: "of a PostHog SDK", likeSnowplow: "of a Snowplow tracker", likeOTLP: "of an OpenTelemetry exporter (OTLP)",
	likeCloudEvents: "of a sender of CloudEvents", likeAmplitude: "of an Amplitude SDK", likeMixpanel: "of a Mixpanel SDK",
	likeGoogle: "of Google Analytics", likeMatomo: "of Matomo", likePlausible: "of Plausible", likeSentry: "of a Sentry SDK",
	likeArray: "with an array of events (a log shipper)", likeForm: "with a form (an SDK's beacon)", likeOther: "to paths that no known SDK has",
}

// SDKName completes "requests" for a Drop's LooksLike.
func SDKName(looksLike string) string {
	if name := sdkNames[looksLike]; name != "" {
		return name
	}
	return "of " + looksLike
}

// sdkPaths are the ends of paths that SDKs post to, and whose. Those of one
// letter have to be the whole path.
var sdkPaths = []struct{ path, like string }{
	{"/v1/track", likeSegment}, {"/v1/identify", likeSegment}, {"/v1/page", likeSegment}, {"/v1/screen", likeSegment},
	{"/v1/group", likeSegment}, {"/v1/alias", likeSegment}, {"/v1/import", likeSegment},
	{"/v1/t", likeSegment}, {"/v1/i", likeSegment}, {"/v1/p", likeSegment}, {"/v1/s", likeSegment}, {"/v1/g", likeSegment},
	{"/v1/a", likeSegment}, {"/v1/b", likeSegment}, {"/v1/m", likeSegment},
	{"/beacon/v1/batch", likeRudderStack}, {"/v1/merge", likeRudderStack}, {"/v1/warehouse", likeRudderStack}, {"/v1/replay", likeRudderStack},
	{"/batch", likePostHog}, {"/e", likePostHog}, {"/i/v0/e", likePostHog}, {"/capture", likePostHog}, {"/decide", likePostHog},
	{"/flags", likePostHog}, {"/s", likePostHog}, {"/i/v1/logs", likePostHog},
	{"/tp2", likeSnowplow}, {"/i", likeSnowplow},
	{"/v1/logs", likeOTLP}, {"/v1/traces", likeOTLP}, {"/v1/metrics", likeOTLP}, {"/v1development/profiles", likeOTLP},
	{"/2/httpapi", likeAmplitude}, {"/httpapi", likeAmplitude}, {"/identify", likeAmplitude}, {"/groupidentify", likeAmplitude},
	{"/track", likeMixpanel}, {"/engage", likeMixpanel}, {"/groups", likeMixpanel}, {"/import", likeMixpanel},
	{"/mp/collect", likeGoogle}, {"/g/collect", likeGoogle}, {"/collect", likeGoogle},
	{"/matomo.php", likeMatomo}, {"/piwik.php", likeMatomo}, {"/api/event", likePlausible},
	{"/envelope", likeSentry}, {"/store", likeSentry},
}

// pathLooksLike tells whose SDK posts to a path that the node does not have. The
// path itself, which may hold a key, goes nowhere.
func pathLooksLike(req *http.Request) string {
	path := strings.ToLower(strings.TrimRight(req.URL.Path, "/"))
	if like := headerLooksLike(req.Header); like != "" {
		return like
	}
	switch {
	case strings.Contains(path, "/api/s/"):
		return likeJitsu
	case strings.Contains(path, "/com.snowplowanalytics."):
		return likeSnowplow
	}
	for _, p := range sdkPaths {
		if path == p.path || len(p.path) > 2 && strings.HasSuffix(path, p.path) && !strings.HasSuffix(path, "/v1/batch") {
			return p.like
		}
	}
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "event", "events", "batch":
		return likeOwn
	}
	return likeOther
}

// headerLooksLike tells by a header that only one kind of sender sets.
func headerLooksLike(h http.Header) string {
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch mediaType = strings.ToLower(strings.TrimSpace(mediaType)); {
	case strings.HasPrefix(mediaType, "application/cloudevents"), h.Get("Ce-Specversion") != "":
		return likeCloudEvents
	case mediaType == "application/x-protobuf":
		return likeOTLP
	case h.Get("AnonymousId") != "":
		return likeRudderStack
	}
	return ""
}

// bodyLook is how much of a body's beginning and of its end is looked at.
const bodyLook = 4 << 10

// bodyLooksLike tells whose SDK has written a body that brings no events of the
// node's own form, "" if that is not to be seen.
func bodyLooksLike(req *http.Request, body []byte) string {
	if like := headerLooksLike(req.Header); like != "" {
		return like
	}
	has := func(member string) bool {
		quoted := []byte(`"` + member + `"`)
		return bytes.Contains(body[:min(len(body), bodyLook)], quoted) || bytes.Contains(body[max(len(body)-bodyLook, 0):], quoted)
	}
	switch {
	case len(body) == 0:
		if strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			return likeForm
		}
		return ""
	case has("resourceLogs"), has("resourceSpans"), has("resourceMetrics"):
		return likeOTLP
	case has("specversion"):
		return likeCloudEvents
	case bytes.Contains(body[:min(len(body), bodyLook)], []byte("iglu:com.snowplowanalytics")):
		return likeSnowplow
	case has("distinct_id"), has("api_key") && has("batch"):
		return likePostHog
	case has("writeKey"), has("messageId"), has("anonymousId"), has("originalTimestamp"):
		return likeSegment
	case bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")):
		return likeArray
	}
	return ""
}

// look notes what a refused request looks like, if its refusal is one that an
// SDK of another kind meets.
func (p *passage) look(refusal event.Refusal, body *buffer) {
	if refusal.Reason != event.Malformed && refusal.Rule != ruleKeyMissing {
		return
	}
	var b []byte
	if body != nil {
		b = body.b
	}
	p.looksLike = bodyLooksLike(p.req, b)
}

// notFound answers a request for a path that the node does not have, and tells
// operators of a POST.
func (r *Router) notFound(w http.ResponseWriter, req *http.Request) {
	http.NotFound(w, req)
	if req.Method != http.MethodPost {
		return
	}
	p := passage{req: req}
	if text, shown := auth.FromRequest(req); shown {
		r.lookUp(&p, text)
	}
	d := newDrop(&p, event.Refusal{})
	d.Reason, d.LooksLike = ReasonUnknownPath, pathLooksLike(req)
	r.tap.add(d)
}
