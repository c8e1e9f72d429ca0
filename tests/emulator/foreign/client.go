// What Go's net/http makes of the emulator: one line of JSON on stdout.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"time"
)

type answer struct {
	Status int  `json:"status"`
	Asked  bool `json:"asked"`
}

func ask(client *http.Client, address string, headers map[string]string, body io.Reader) answer {
	found := answer{}
	trace := &httptrace.ClientTrace{Got100Continue: func() { found.Asked = true }}
	request, err := http.NewRequestWithContext(
		httptrace.WithClientTrace(context.Background(), trace), "POST", address, body)
	check(err)
	request.Header.Set("x-api-key", os.Getenv("API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	check(err)
	_, err = io.Copy(io.Discard, response.Body)
	check(err)
	check(response.Body.Close())
	found.Status = response.StatusCode
	return found
}

// halfClosed sends a request, shuts its sending side, and returns all that is answered.
func halfClosed(host string) string {
	connection, err := net.Dial("tcp", host)
	check(err)
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "POST /v1/desktop HTTP/1.1\r\nHost: localhost\r\nx-api-key: %s\r\nContent-Length: 0\r\n\r\n", os.Getenv("API_KEY"))
	check(err)
	check(connection.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(connection)
	check(err)
	return strings.SplitN(string(all), "\r\n", 2)[0]
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	base, err := url.Parse(os.Args[1])
	check(err)
	body := `{"timeout_ms": 3600000}`
	// As patient as Java and Node: it never sends the body unasked.
	direct := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	proxied := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(base)}}
	launch := base.String() + "/v1/desktop"
	expecting := map[string]string{"Expect": "100-continue"}
	found := map[string]any{
		"sized":   ask(direct, launch, expecting, strings.NewReader(body)),
		"chunked": ask(direct, launch, expecting, io.MultiReader(strings.NewReader(body))),
		// Sent over the same connections, which must be in step.
		"again":    ask(direct, launch, nil, strings.NewReader(body)),
		"encoded":  ask(direct, launch, map[string]string{"Content-Encoding": "gzip"}, strings.NewReader(body)),
		"absolute": ask(proxied, "http://api.cyberdesk.example/v1/desktop", nil, strings.NewReader(body)),
		"half":     halfClosed(base.Host),
	}
	check(json.NewEncoder(os.Stdout).Encode(found))
}
