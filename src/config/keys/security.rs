//! Owns the keys of TLS, SASL, delegation tokens, password encoding and the authorizer.

use super::rows;

rows! {
    "authorizer.class.name" String = "", NonNull, Low, ReadOnly:
        "Authorizer class; ZK clusters use kafka.security.authorizer.AclAuthorizer; empty disables authorization.";
    "connection.failed.authentication.delay.ms" Int = "100", AtLeast(0.0), Low, ReadOnly:
        "Delays closing after failed authentication; must stay below connections.max.idle.ms.";
    "connections.max.reauth.ms" Long = "0", Any, Medium, ReadOnly:
        "SASL session lifetime; >0 forces re-authentication; per listener and mechanism prefix allowed.";
    "delegation.token.expiry.check.interval.ms" Long = "3600000", AtLeast(1.0), Low, ReadOnly:
        "How often expired delegation tokens are removed.";
    "delegation.token.expiry.time.ms" Long = "86400000", AtLeast(1.0), Medium, ReadOnly:
        "Token lifetime until it must be renewed.";
    "delegation.token.master.key" Password = null, Any, Medium, ReadOnly:
        "Deprecated alias of delegation.token.secret.key.";
    "delegation.token.max.lifetime.ms" Long = "604800000", AtLeast(1.0), Medium, ReadOnly:
        "Hard upper bound of a token's life, renewals included.";
    "delegation.token.secret.key" Password = null, Any, Medium, ReadOnly:
        "Secret for token HMACs; identical on all brokers; unset disables delegation tokens.";
    "password.encoder.cipher.algorithm" String = "AES/CBC/PKCS5Padding", Any, Low, ReadOnly:
        "Cipher for dynamic passwords stored in ZK.";
    "password.encoder.iterations" Int = "4096", AtLeast(1024.0), Low, ReadOnly:
        "PBKDF2 iterations for the password encoder.";
    "password.encoder.key.length" Int = "128", AtLeast(8.0), Low, ReadOnly: "Key length for the password encoder.";
    "password.encoder.keyfactory.algorithm" String = null, Any, Low, ReadOnly:
        "Key factory; null picks PBKDF2WithHmacSHA512 or SHA1.";
    "password.encoder.old.secret" Password = null, Any, Medium, ReadOnly:
        "Previous secret used once to re-encode stored passwords.";
    "password.encoder.secret" Password = null, Any, Medium, ReadOnly:
        "Secret protecting dynamic password configs in ZK; required to set them.";
    "principal.builder.class" Class = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
        Classes(PRINCIPAL_BUILDERS), Medium, PerBroker:
        "Builds KafkaPrincipal from TLS/SASL context; must implement KafkaPrincipalSerde.";
    "sasl.client.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly:
        "Client-side callback class for inter-broker SASL.";
    "sasl.enabled.mechanisms" List = "GSSAPI", Any, Medium, PerBroker: "Mechanisms offered on SASL listeners.";
    "sasl.jaas.config" Password = null, Any, Medium, PerBroker:
        "JAAS entry; on brokers set as listener.name.<l>.<mechanism>.sasl.jaas.config.";
    "sasl.kerberos.kinit.cmd" String = "/usr/bin/kinit", Any, Medium, PerBroker:
        "Kinit path for Kerberos login refresh.";
    "sasl.kerberos.min.time.before.relogin" Long = "60000", Any, Medium, PerBroker:
        "Shortest pause between Kerberos refreshes.";
    "sasl.kerberos.principal.to.local.rules" List = "DEFAULT", Any, Medium, PerBroker:
        "Auth_to_local rules mapping Kerberos principals to user names.";
    "sasl.kerberos.service.name" String = null, Any, Medium, PerBroker: "Kerberos service name of the brokers.";
    "sasl.kerberos.ticket.renew.jitter" Double = "0.05", Any, Medium, PerBroker: "Random part of ticket renewal time.";
    "sasl.kerberos.ticket.renew.window.factor" Double = "0.8", Any, Medium, PerBroker:
        "Share of ticket life before renewal.";
    "sasl.login.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly:
        "Login callback class per listener and mechanism.";
    "sasl.login.class" Class = null, Classes(&[]), Medium, ReadOnly: "Login class per listener and mechanism.";
    "sasl.login.connect.timeout.ms" Int = null, Any, Low, ReadOnly: "OAUTHBEARER HTTP connect timeout.";
    "sasl.login.read.timeout.ms" Int = null, Any, Low, ReadOnly: "OAUTHBEARER HTTP read timeout.";
    "sasl.login.refresh.buffer.seconds" Short = "300", Any, Medium, PerBroker:
        "OAUTHBEARER refresh margin before expiry.";
    "sasl.login.refresh.min.period.seconds" Short = "60", Any, Medium, PerBroker:
        "OAUTHBEARER shortest refresh period.";
    "sasl.login.refresh.window.factor" Double = "0.8", Any, Medium, PerBroker:
        "OAUTHBEARER share of life before refresh.";
    "sasl.login.refresh.window.jitter" Double = "0.05", Any, Medium, PerBroker: "OAUTHBEARER refresh jitter.";
    "sasl.login.retry.backoff.max.ms" Long = "10000", Any, Low, ReadOnly: "OAUTHBEARER retry ceiling.";
    "sasl.login.retry.backoff.ms" Long = "100", Any, Low, ReadOnly: "OAUTHBEARER first retry pause.";
    "sasl.mechanism.inter.broker.protocol" String = "GSSAPI", Any, Medium, PerBroker:
        "SASL mechanism between brokers; must be enabled on that listener.";
    "sasl.oauthbearer.clock.skew.seconds" Int = "30", Any, Low, ReadOnly:
        "Allowed clock difference when validating JWTs.";
    "sasl.oauthbearer.expected.audience" List = null, Any, Low, ReadOnly: "Audiences accepted in JWTs.";
    "sasl.oauthbearer.expected.issuer" String = null, Any, Low, ReadOnly: "Issuer required in JWTs.";
    "sasl.oauthbearer.jwks.endpoint.refresh.ms" Long = "3600000", Any, Low, ReadOnly: "JWKS cache refresh period.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" Long = "10000", Any, Low, ReadOnly:
        "JWKS fetch retry ceiling.";
    "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" Long = "100", Any, Low, ReadOnly: "JWKS fetch first retry pause.";
    "sasl.oauthbearer.jwks.endpoint.url" String = null, Any, Medium, ReadOnly:
        "Where JWT signing keys are read (https or file).";
    "sasl.oauthbearer.scope.claim.name" String = "scope", Any, Low, ReadOnly: "JWT claim holding scopes.";
    "sasl.oauthbearer.sub.claim.name" String = "sub", Any, Low, ReadOnly: "JWT claim holding the principal.";
    "sasl.oauthbearer.token.endpoint.url" String = null, Any, Medium, ReadOnly: "Token endpoint for broker logins.";
    "sasl.server.callback.handler.class" Class = null, Classes(&[]), Medium, ReadOnly:
        "Server callback class per listener and mechanism.";
    "sasl.server.max.receive.size" Int = "524288", Any, Medium, ReadOnly:
        "Largest message accepted before SASL authentication completes.";
    "security.inter.broker.protocol" String = "PLAINTEXT", OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        Medium, ReadOnly: "Protocol between brokers when inter.broker.listener.name is unset.";
    "security.providers" String = null, Any, Low, ReadOnly: "JVM security provider creators.";
    "ssl.allow.dn.changes" Boolean = "false", Any, Low, ReadOnly:
        "Allow distinguished-name change when keystore reloads.";
    "ssl.allow.san.changes" Boolean = "false", Any, Low, ReadOnly: "Allow SAN change when keystore reloads.";
    "ssl.cipher.suites" List = "", Any, Medium, PerBroker: "Allowed cipher suites; empty means JVM defaults.";
    "ssl.client.auth" String = "none", OneOf(&["required", "requested", "none"]), Medium, PerBroker:
        "Client certificate: none, requested or required; per listener.";
    "ssl.enabled.protocols" List = "TLSv1.2,TLSv1.3", Any, Medium, PerBroker: "TLS versions offered.";
    "ssl.endpoint.identification.algorithm" String = "https", Any, Low, PerBroker:
        "Host name check of outgoing TLS; empty disables.";
    "ssl.engine.factory.class" Class = null, Classes(SSL_ENGINES), Low, PerBroker: "Custom SSLEngine factory plugin.";
    "ssl.key.password" Password = null, Any, Medium, PerBroker: "Password of the private key.";
    "ssl.keymanager.algorithm" String = "SunX509", Any, Medium, PerBroker: "Key manager algorithm.";
    "ssl.keystore.certificate.chain" Password = null, Any, Medium, PerBroker: "PEM certificate chain inline.";
    "ssl.keystore.key" Password = null, Any, Medium, PerBroker: "PEM PKCS#8 private key inline.";
    "ssl.keystore.location" String = null, Any, Medium, PerBroker: "Key store file (JKS, PKCS12 or PEM).";
    "ssl.keystore.password" Password = null, Any, Medium, PerBroker: "Key store password; not used for PEM.";
    "ssl.keystore.type" String = "JKS", Any, Medium, PerBroker: "JKS, PKCS12 or PEM.";
    "ssl.principal.mapping.rules" String = "DEFAULT", Any, Low, ReadOnly:
        "Rules turning the certificate DN into a user name.";
    "ssl.protocol" String = "TLSv1.3", Any, Medium, PerBroker: "SSLContext protocol name.";
    "ssl.provider" String = null, Any, Medium, PerBroker: "JVM security provider for TLS.";
    "ssl.secure.random.implementation" String = null, Any, Low, PerBroker: "SecureRandom algorithm.";
    "ssl.trustmanager.algorithm" String = "PKIX", Any, Medium, PerBroker: "Trust manager algorithm.";
    "ssl.truststore.certificates" Password = null, Any, Medium, PerBroker: "PEM trusted certificates inline.";
    "ssl.truststore.location" String = null, Any, Medium, PerBroker: "Trust store file.";
    "ssl.truststore.password" Password = null, Any, Medium, PerBroker: "Trust store password.";
    "ssl.truststore.type" String = "JKS", Any, Medium, PerBroker: "JKS, PKCS12 or PEM.";
}
