# syntax=docker.m.daocloud.io/docker/dockerfile:1

FROM m.daocloud.io/mcr.microsoft.com/dotnet/sdk:8.0 AS build
RUN dotnet publish -c Release \
    -o /app

FROM m.daocloud.io/mcr.microsoft.com/dotnet/aspnet:8.0
COPY --from=build /app .
ENTRYPOINT ["dotnet", "app.dll"]