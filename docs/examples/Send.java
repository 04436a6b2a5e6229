// Sends one signed signal to Gemba with the standard library of Java 17 or later.
//
// Usage: java Send.java hmac              http://localhost:8080/v1/signals          SECRET_FILE ID
//        java Send.java standard-webhooks http://localhost:8080/v1/sources/webhooks SECRET_FILE ID
import static java.nio.charset.StandardCharsets.UTF_8;
import java.io.IOException;
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.time.*;
import java.util.*;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Send {
    static byte[] mac(byte[] key, String text) throws Exception {
        var mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(UTF_8));
    }
    static String[] sign(String scheme, String secret, String id, String body) throws Exception {
        if (scheme.equals("hmac")) {
            // Hex HMAC-SHA256 of the exact bytes of the body. The key is the text in the secret file.
            return new String[] {"x-signature", HexFormat.of().formatHex(mac(secret.getBytes(UTF_8), body))};
        }
        // The key is the decoded base64 after `whsec_`. The id and the time are signed, too.
        var key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
        var now = Instant.now().getEpochSecond();
        var mac = Base64.getEncoder().encodeToString(mac(key, id + "." + now + "." + body));
        return new String[] {"webhook-id", id, "webhook-timestamp", "" + now, "webhook-signature", "v1," + mac};
    }
    public static void main(String[] args) throws Exception {
        if (args.length != 4 || !Set.of("hmac", "standard-webhooks").contains(args[0]))
            throw new IllegalArgumentException("usage: java Send.java hmac|standard-webhooks URL SECRET_FILE ID");
        String scheme = args[0], url = args[1], id = args[3];
        var secret = Files.readString(Path.of(args[2])).stripTrailing();
        // The id names the event: the same id with the same body is the same signal, however often it is sent.
        var body = """
            {"id": "%s", "tenant": "acme", "sku": "vm", "type": "cost.usage",
             "data": {"spend": 81.25, "budget": 100}}""".formatted(id);
        var client = HttpClient.newHttpClient();
        for (int left = 5; ; left--) {
            var request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30))
                .headers(sign(scheme, secret, id, body)).header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body)).build();
            long wait = 1;
            try {
                var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
                if (left == 0 || !Set.of(429, 503).contains(answer.statusCode())) {
                    System.out.println(answer.statusCode() + " " + answer.body());
                    System.exit(answer.statusCode() == 202 ? 0 : 1);
                }
                wait = answer.headers().firstValueAsLong("retry-after").orElse(1);
            } catch (IOException none) { // No answer: the signal may have been accepted, and a repeat does no harm.
                if (left == 0) throw none;
            }
            Thread.sleep(1000 * wait); // Then the same bytes again.
        }
    }
}
