# One small static image, no shell, no root. Every role of Pli is the same binary.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/pli ./cmd/pli \
 && mkdir -p /out/lib /out/tmp && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/share/zoneinfo/Europe/Paris /usr/share/zoneinfo/Europe/Paris
COPY --from=build --chown=65532:65532 /out/lib /var/lib/pli
COPY --from=build /out/tmp /tmp
COPY --from=build /out/pli /pli
USER 65532:65532
ENTRYPOINT ["/pli"]
CMD ["serve", "--config", "/etc/pli/pli.toml"]
