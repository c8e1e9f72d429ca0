// What Java's HttpClient makes of the emulator: the statuses on stdout, one a line.
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class Client {
    static HttpRequest.Builder launch(String base) {
        return HttpRequest.newBuilder(URI.create(base + "/v1/desktop"))
            .header("x-api-key", System.getenv("API_KEY"))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString("{\"timeout_ms\": 3600000}"));
    }

    static int ask(HttpClient client, HttpRequest.Builder request) throws Exception {
        return client.send(request.build(), HttpResponse.BodyHandlers.ofString()).statusCode();
    }

    public static void main(String[] arguments) throws Exception {
        URI base = URI.create(arguments[0]);
        // By default it offers an upgrade to HTTP/2 with each first request.
        HttpClient client = HttpClient.newHttpClient();
        HttpClient proxied = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .proxy(ProxySelector.of(new InetSocketAddress(base.getHost(), base.getPort())))
            .build();
        System.out.println(ask(client, launch(arguments[0]).expectContinue(true)));
        System.out.println(ask(client, launch(arguments[0]).expectContinue(true)));
        System.out.println(ask(client, launch(arguments[0])));
        System.out.println(ask(proxied, launch("http://api.cyberdesk.example")));
        System.exit(0);
    }
}
